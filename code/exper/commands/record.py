"""Add runs to a list: one line each in `__statistic__/exper-list/record.txt`, which you may edit.

Without an argument, the run started last is added. A tag is added as it is and means all its runs, also later ones; so
does a glob in quotes. An entry that is in the list already is not added again.

Examples:
    record
    record baseline/0 wide
    record -l width 'wide*'            to the list width.txt
"""

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.runs import lists, run_record, select
from exper.runs.tags import UNTAGGED


def record(arguments: list[str], project: paths.Project) -> int:
    """Check all arguments, then add them."""
    parser = Parser("record", __doc__)
    parser.add_argument("runs", nargs="*", metavar="tag[/id]", help="the runs to add; default: the run started last")
    parser.add_argument("-l", "--list", metavar="name", default=lists.RECORD, help="the list; default: record")
    options = parser.parse_args(arguments)
    lists.check_name(options.list)
    if options.list == lists.FINISHED:
        raise Refused("Exper itself keeps the list 'finished'. Type: record -l <another name>")
    words = [select.list_entry(project, word) for word in options.runs] or [str(_newest(project))]
    path = project.list_file(options.list)
    if path.exists():
        lists.entries(path)  # is it text?
    added = lists.append(project, options.list, *words)
    for word in dict.fromkeys(words):
        print(f"{word} {'added to' if word in added else 'is already in'} {paths.from_here(path)}")
    return 0


def _newest(project: paths.Project) -> paths.Run:
    """Return the run started or continued last; an untagged run can't be repeated, so it has to be named."""
    started = {}
    for run in (run for tag in project.tags() if tag.name != UNTAGGED for run in tag.runs()):
        try:
            started[run] = str(run_record.read(run)["sessions"][-1].get("started"))
        except Refused:
            continue
    if not started:
        raise Refused("there are no runs yet. Type: run <tag>")
    return max(started, key=lambda run: started[run])
