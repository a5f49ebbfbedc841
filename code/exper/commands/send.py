"""Send what waits in runs that are over to the loggers that their config.py names.

What a server that was down, slow or full has missed is kept in the run's own files. Nothing is sent twice. The exit
code is 1 if something still waits, or if of several runs one was left out, as it trains still or is damaged.

Examples:
    exper send baseline/0
    exper send finished            all runs on the list of finished ones
    exper send 'wide+*'            the trials of a search
"""

import subprocess
import sys

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import printable, warn
from exper.runs import run_record, select, status
from exper.sidecars import loggers as kinds
from exper.sidecars import outbox, sender

_SECONDS = 60


def send(arguments: list[str], project: paths.Project) -> int:
    """Send run by run, and tell of each."""
    parser = Parser("exper send", __doc__)
    parser.add_argument("runs", nargs="+", metavar="list|tag[/id]|glob", help="which runs")
    options = parser.parse_args(arguments)
    runs, problems = select.resolve(project, options.runs)
    unfit = {run: why for run in runs if (why := _unfit(run))}
    if unfit and len(runs) == 1:
        raise Refused(unfit[runs[0]])
    failed = [run for run in runs if run not in unfit and not _send(run)]
    return int(warn("send", [*problems, *unfit.values()]) or bool(failed))


def _unfit(run: paths.Run) -> str:
    """Return why nothing can be sent of a run, or nothing."""
    try:
        now = status.derive(run, run_record.read(run))
    except Refused as refusal:
        return str(refusal)
    is_over = now in (*status.FINAL, *status.UNFINISHED)
    return "" if is_over else f"{run} is {now}: its loggers send by themselves. Wait until it is over."


def _send(run: paths.Run) -> bool:
    """Send what waits; return whether nothing does any more."""
    before = {part["name"]: outbox.waiting(run, part["name"], kinds.sources(part)) for part in outbox.loggers(run)}
    if not any(before.values()):
        print(f"{run}: nothing waits")
        return True
    command = [sys.executable, "-I", sender.__file__, str(run.folder), str(_SECONDS)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for part in outbox.loggers(run):
        left = outbox.waiting(run, part["name"], kinds.sources(part))
        if before[part["name"]] > left:
            print(f"{run}: {part['name']} has got {_records(before[part['name']] - left)}")
    for line in done.stdout.splitlines():
        print(printable(f"{run}: {line.partition('. Later: ')[0]}"))
    return done.returncode == 0


def _records(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"
