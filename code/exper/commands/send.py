"""Send the records that ended runs still have for the loggers in their config.py.

Records that a server could not take, because it was down, slow or full, are kept in the run's files. No record is sent
twice. The exit code is 1 if a record is still unsent, or if one of several runs was skipped because it is still
training or damaged.

Examples:
    exper send baseline/0
    exper send finished            all runs of the list of finished runs
    exper send 'wide+*'            the trials of a search
"""

import subprocess
import sys
from typing import Any

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import count, printable, warn
from exper.runs import run_record, select, status
from exper.sidecars import loggers as kinds
from exper.sidecars import outbox, sender

_SECONDS = 60


def send(arguments: list[str], project: paths.Project) -> int:
    """Send the records of each run and report on it."""
    parser = Parser("exper send", __doc__)
    parser.add_argument("runs", nargs="+", metavar="list|tag[/id]|glob", help="the runs")
    options = parser.parse_args(arguments)
    runs, problems = select.resolve(project, options.runs)
    unfit = {run: why for run in runs if (why := _unfit(run))}
    if unfit and len(runs) == 1:
        raise Refused(unfit[runs[0]])
    failed = [run for run in runs if run not in unfit and not _send(run)]
    return int(warn("send", [*problems, *unfit.values()]) or bool(failed))


def _unfit(run: paths.Run) -> str:
    """Return why nothing can be sent of a run; "" if it can."""
    try:
        now = status.derive(run, run_record.read(run))
    except Refused as refusal:
        return str(refusal)
    return "" if now in status.ENDED else f"{run} is {now}, and its loggers still send. Wait until it has ended."


def _send(run: paths.Run) -> bool:
    """Send the unsent records of a run; return whether all are sent."""
    before = {logger["name"]: _waiting(run, logger) for logger in outbox.loggers(run)}
    if not any(before.values()):
        print(f"{run}: nothing to send")
        return True
    command = [sys.executable, "-I", sender.__file__, str(run.folder), str(_SECONDS)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for logger in outbox.loggers(run):
        sent = before[logger["name"]] - _waiting(run, logger)
        if sent > 0:
            print(f"{run}: {logger['name']} has received {count(sent, 'record')}")
    for line in done.stdout.splitlines():
        print(printable(f"{run}: {line.partition('. Later: ')[0]}"))
    return done.returncode == 0


def _waiting(run: paths.Run, logger: dict[str, Any]) -> int:
    """Return the number of records that a logger has not sent."""
    return outbox.waiting(run, logger["name"], kinds.sources(logger))
