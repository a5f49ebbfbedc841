"""Open TensorBoard for chosen runs, shown as tag/id. Ctrl-C ends it and leaves no files behind.

Name runs by tag/id, a tag for all its runs, a glob or a list; without a name, all runs are shown. Runs that start or
continue later appear automatically. The HParams tab has the settings and results of `table`. Options of TensorBoard
follow `--`. Without --port it takes the first free port from 6006. Only this machine can reach it.

Examples:
    itb baseline wide/1
    itb 'lr-*'                         all tags that begin with lr-
    itb record                         the runs of a list
    itb baseline -- --port 7000 --bind_all
"""

from exper.core import paths, signals
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say, warn
from exper.runs import select
from exper.views import tensorboard


def itb(arguments: list[str], project: paths.Project) -> int:
    """Serve until a signal comes."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    words: list[str] = _parser().parse_args(arguments[:at]).runs
    runs, unknown = select.resolve(project, words) if words else (project.runs(), [])
    if not runs:
        raise Refused("there are no runs to show yet. Type: run <tag>")
    warn("itb", unknown)
    _say_without_curves(runs)
    with (
        signals.raised(),
        tensorboard.serving(lambda: _now(project, words), arguments[at + 1 :]) as (address, update),
    ):
        print(f"{address} shows {len(runs)} run{'s' * (len(runs) != 1)}. Ctrl-C ends it.", flush=True)
        tensorboard.keep(update)
    return 0


def _parser() -> Parser:
    parser = Parser("itb", __doc__)
    parser.add_argument("runs", nargs="*", metavar="tag[/id]", help="the runs to show; also a glob or a list")
    return parser


def _now(project: paths.Project, words: list[str]) -> list[paths.Run]:
    """Return the runs that the words name now."""
    try:
        return select.resolve(project, words)[0] if words else project.runs()
    except Refused:  # the last run of a tag has been removed
        return []


def _say_without_curves(runs: list[paths.Run]) -> None:
    without = [str(run) for run in runs if not any(run.tensorboard.rglob("*tfevents*"))]
    if without:
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        say(f"itb: no TensorBoard files yet: {', '.join(without[:5])}{more}")
