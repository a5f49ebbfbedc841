"""Write one HTML page about runs: table, curves, settings, code and logs; it needs no network and no server.

What the runs are is said by lists, tags, <tag>/<id> or globs of these; nothing means the list `record`.

Examples:
    exper report                       the list record, into __statistic__/report/record.html
    exper report base 'lr*/0'          these runs
    exper report ablation -o ~/ablation.html
"""

import os
import re
import stat
from pathlib import Path

from exper import files, find, paths
from exper.arguments import Parser
from exper.error import Refused
from exper.say import printable, warn

_LONGEST_NAME = 100


def report(arguments: list[str], project: paths.Project) -> int:
    """Read the runs, write the page, print where it is."""
    parser = Parser("report", __doc__)
    parser.add_argument("runs", nargs="*", metavar="list|tag[/id]|glob", help="which runs, in this order")
    parser.add_argument("-o", "--output", metavar="file", help="where to write the page, a path that ends in .html")
    options = parser.parse_args(arguments)
    words = find.words_or_record(project, options.runs)
    title = _title(project, words)
    target = project.report_file(_name(title)) if options.output is None else _given(options.output)
    runs, unknown = find.chosen(project, words)
    if not runs:
        raise Refused(f"{' '.join(words)} names no run that there is. Type: expls")
    return _write(project, title, runs, unknown, target)


def _write(project: paths.Project, title: str, runs: list[paths.Run], notes: list[str], target: Path) -> int:
    from exper.report import content, page  # `report -h` does without

    contents = [content.of(run) for run in runs]
    notes = notes + [f"{one.run}: {damage}" for one in contents for damage in one.damage]
    text = page.page(project, title, contents, notes)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace(target, text)
    except OSError as error:
        raise Refused(f"{target} can't be written: {error.strerror}. Type: exper report … -o <file>") from None
    print(printable(paths.from_here(target)))
    return int(warn("report", notes))


def _given(output: str) -> Path:
    """Return the file that -o means, behind links."""
    path = Path(os.path.realpath(output))
    if path.suffix.lower() not in (".html", ".htm"):
        raise Refused(f"-o {output}: a report is a file whose name ends in .html.")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise Refused(f"-o {output}: that is no file. Give it another name.")
    if not path.parent.is_dir():
        raise Refused(f"-o {output}: there is no folder {path.parent}. Type: mkdir -p {path.parent}")
    return path


def _title(project: paths.Project, words: list[str]) -> str:
    lists = [find.list_path(project, word) for word in words]
    return " ".join(word.rstrip("/") if path is None else path.stem for word, path in zip(words, lists, strict=True))


def _name(title: str) -> str:
    """Return a title as the name of a file."""
    return re.sub(r"[^A-Za-z0-9._+=-]", "-", title.replace(" ", "_"))[:_LONGEST_NAME].lstrip(".") or "report"
