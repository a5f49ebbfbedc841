"""Send what waits in runs that are over to the loggers that their config.py names.

What a server that was down, slow or full has missed is kept in the run's own files. Nothing is sent twice. The exit
code is 1 if something still waits.

Examples:
    exper send baseline/0
    exper send finished            all runs on the list of finished ones
    exper send 'wide+*'            the trials of a search
"""

import subprocess
import sys

from exper import find, paths, sender, sent, status
from exper.arguments import Parser
from exper.error import Refused
from exper.say import printable, warn
from exper.training import loggers as kinds

_SECONDS = 60


def send(arguments: list[str], project: paths.Project) -> int:
    """Send run by run, and tell of each."""
    parser = Parser("exper send", __doc__)
    parser.add_argument("runs", nargs="+", metavar="list|tag[/id]|glob", help="which runs")
    options = parser.parse_args(arguments)
    runs, unknown = find.chosen(project, options.runs)
    for run in runs:
        now = status.read(run)
        if now not in (*status.OVER, *status.UNFINISHED):
            raise Refused(f"{run} is {now}: its loggers send by themselves. Wait until it is over.")
    failed = [run for run in runs if not _send(run)]
    return int(warn("send", unknown) or bool(failed))


def _send(run: paths.Run) -> bool:
    """Send what waits; return whether nothing does any more."""
    before = {part["name"]: sent.waiting(run, part["name"], kinds.sources(part)) for part in sent.parts(run)}
    if not any(before.values()):
        print(f"{run}: nothing waits")
        return True
    command = [sys.executable, "-I", sender.__file__, str(run.folder), str(_SECONDS)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for part in sent.parts(run):
        left = sent.waiting(run, part["name"], kinds.sources(part))
        if before[part["name"]] > left:
            print(f"{run}: {part['name']} has got {_records(before[part['name']] - left)}")
    for line in done.stdout.splitlines():
        print(printable(f"{run}: {line.partition('. Later: ')[0]}"))
    return done.returncode == 0


def _records(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"
