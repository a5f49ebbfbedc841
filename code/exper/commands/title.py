"""Make the title of a list, or bring it up to date: the columns of its table and their headers, yours to edit.

`__statistic__/title/<list>.json` gets a line for each setting and metric of the list's runs. Reorder the lines, write
other headers, comment lines out: the next `title` keeps every byte of that and only adds names that are new.

Examples:
    title                              of the list record
    title width                        of the list width.txt
"""

from collections.abc import Iterable

from exper.core import paths, statistic_file
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import warn
from exper.runs import lists, select
from exper.statistic import rows, titles


def title(arguments: list[str], project: paths.Project) -> int:
    """Collect the names that the list's runs have, and add the new ones."""
    parser = Parser("title", __doc__)
    parser.add_argument("list", nargs="?", default=lists.RECORD, help="a list, or a path to one; if none: record")
    options = parser.parse_args(arguments)
    listed = lists.find(project, options.list)
    runs, missing = select.in_list(project, listed)
    names, problems = _names(runs)
    path = project.title_file(listed.stem)
    added = titles.add(path, names)
    count = f"{len(added)} new {'name' if len(added) == 1 else 'names'}" if added else "no new names"
    print(f"{count} for {paths.from_here(path)}")
    return int(warn("title", [*lists.unknown_runs(listed, missing), *problems]))


def _names(runs: Iterable[paths.Run]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the union of the names of runs, and what can't be read."""
    found: dict[str, dict[str, None]] = {part: {} for part in titles.SECTIONS}
    problems = []
    for run in runs:
        try:
            for part, names in rows.names(statistic_file.read_or_empty(run)).items():
                found[part].update(dict.fromkeys(names))
        except Refused as refusal:
            problems.append(str(refusal))
    return {part: list(names) for part, names in found.items()}, problems
