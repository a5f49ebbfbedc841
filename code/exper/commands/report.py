"""Write one HTML page about runs: table, curves, settings, code and logs. It needs no network and no server.

Name the runs by lists, tags, <tag>/<id> or globs; without a name, those of the list `record`.

Examples:
    exper report                       the list record, to __statistic__/report/record.html
    exper report base 'lr*/0'          these runs
    exper report ablation -o ~/ablation.html
"""

from pathlib import Path

from exper.core import files, paths
from exper.core.arguments import Parser, output_file
from exper.core.errors import Refused
from exper.core.messages import printable, warn
from exper.runs import select


def report(arguments: list[str], project: paths.Project) -> int:
    """Read the runs, write the page and print its path."""
    parser = Parser("report", __doc__)
    parser.add_argument("runs", nargs="*", metavar="list|tag[/id]|glob", help="the runs, in this order")
    parser.add_argument("-o", "--output", metavar="file", help="the page, a path that ends in .html")
    options = parser.parse_args(arguments)
    words = select.words_or_record(project, options.runs)
    if options.output is None:
        target = project.report_file(select.file_name(project, words))
    else:
        target = output_file(options.output, ".html", ".htm")
    runs, unknown = select.resolve(project, words)
    if not runs:
        raise Refused(f"{' '.join(words)} names no run. For the tags that have runs, type: expls")
    return _write(project, " ".join(select.display_names(words)), runs, unknown, target)


def _write(project: paths.Project, title: str, runs: list[paths.Run], notes: list[str], target: Path) -> int:
    from exper.views.report import content, page  # `report -h` does without

    contents = [content.of(run) for run in runs]
    notes = notes + [f"{each.run}: {damage}" for each in contents for damage in each.damage]
    text = page.page(project, title, contents, notes)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace(target, text)
    except OSError as error:
        raise Refused(f"{target} can't be written: {error.strerror}. Type: exper report … -o <file>") from None
    print(printable(paths.from_here(target)))
    return int(warn("report", notes))
