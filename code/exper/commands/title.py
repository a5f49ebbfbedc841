"""Make or update the title of a list: a file with the columns of its table and their headers, which you may edit.

`__statistic__/title/<list>.json` gets a line for each setting and metric of the list's runs. Reorder lines, change
headers, comment lines out: the next `title` keeps your edits byte for byte and only adds new names.

Examples:
    title                              the list record
    title width                        the list width.txt
"""

from collections.abc import Iterable

from exper.core import paths, statistic_file
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import count, warn
from exper.runs import lists, select
from exper.statistic import rows, titles


def title(arguments: list[str], project: paths.Project) -> int:
    """Collect the names in the list's runs and add the new ones."""
    parser = Parser("title", __doc__)
    parser.add_argument("list", nargs="?", default=lists.RECORD, help="a list or the path of one; default: record")
    options = parser.parse_args(arguments)
    listed = lists.find(project, options.list)
    runs, missing = select.in_list(project, listed)
    names, problems = _names(runs)
    path = project.title_file(listed.stem)
    added = titles.add(path, names)
    print(f"{count(len(added), 'new name') if added else 'no new names'} for {paths.from_here(path)}")
    return int(warn("title", [*lists.unknown_runs(listed, missing), *problems]))


def _names(runs: Iterable[paths.Run]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the union of the names of runs by section, and a line for each run that can't be read."""
    sections: dict[str, dict[str, None]] = {section: {} for section in titles.SECTIONS}
    problems = []
    for run in runs:
        try:
            for section, names in rows.names(statistic_file.read_or_empty(run)).items():
                sections[section].update(dict.fromkeys(names))
        except Refused as refusal:
            problems.append(str(refusal))
    return {section: list(names) for section, names in sections.items()}, problems
