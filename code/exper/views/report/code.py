"""The code of the runs: each tag's commit, message and difference from the first; and the logs of failed runs."""

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

from exper.core import paths
from exper.core.errors import Refused
from exper.core.messages import count
from exper.repository.objects import Commit, TagObject
from exper.repository.repository import Repository
from exper.runs import tags
from exper.views.report.content import Content, Tail
from exper.views.report.markup import Html, element, join, links

MOST_LINES = 200  # of a difference


@dataclass
class Code:
    """A commit that runs were trained from, and its tag."""

    tag: str
    hash: str
    runs: list[int]  # their indices in the report
    commit: Commit | None = None
    reason: str = ""  # the tag's message without trailers
    changes: list[str] = field(default_factory=list)  # `name=value`, as given to `run`
    notes: list[str] = field(default_factory=list)
    difference: str | None = None  # to the first commit; None for that itself and for an unknown commit


class Codes(NamedTuple):
    """The commits of a report; `error` is empty, or says why git can't be asked about them."""

    codes: list[Code]
    error: str


def of(project: paths.Project, contents: list[Content]) -> Codes:
    """Return the commits in the order of the runs, with an error if git can't be asked."""
    by_commit: dict[tuple[str, str], Code] = {}
    for i, content in enumerate(contents):
        if content.commit:
            tag = content.run.tag
            by_commit.setdefault((tag, content.commit), Code(tag, content.commit, [])).runs.append(i)
    codes = list(by_commit.values())
    if not codes:
        return Codes([], "")
    try:
        _fill(Repository(project.root), codes)
    except Refused as error:
        return Codes(codes, str(error))
    return Codes(codes, "")


def _fill(repository: Repository, codes: list[Code]) -> None:
    """Add what git knows of each commit."""
    commits = repository.commits([code.hash for code in codes])
    base = next((code for code in codes if code.hash in commits), None)
    for code in codes:
        code.commit = commits.get(code.hash)
        _add_tag(code, repository.tag(code.tag))
        if code.commit is None:
            code.notes.append("this repository has no such commit")
        elif base is not None and code is not base:
            code.difference = repository.difference(base.hash, code.hash)


def _add_tag(code: Code, tag: TagObject | None) -> None:
    if tag is None or tag.commit != code.hash:
        note = "git has no such tag any more" if tag is None else f"the tag now points to {tag.commit[:10]}"
        code.notes.append(note)
        return
    code.reason = tags.reason(tag)
    code.changes = tags.changes(tag)


def commits(codes: list[Code], error: str, contents: list[Content]) -> Html:
    """Return an article about each commit."""
    notes = [element("p", error, class_="note")] if error else []
    if not codes:
        notes.append(element("p", "No run was made from a commit.", class_="quiet"))
    base = next((code for code in codes if code.commit), None)
    return join(*notes, *(_commit(i, code, base, contents) for i, code in enumerate(codes)))


def _commit(i: int, code: Code, base: Code | None, contents: list[Content]) -> Html:
    subject = code.commit.subject if code.commit else ""
    date = _date(code.commit) if code.commit else ""
    about = [element("code", code.hash[:10]), date, count(len(code.runs), "run")]
    return element(
        "article",
        element("h3", code.tag),
        element(
            "p",
            *(join(element("span", text), " ") for text in about if text),
            links(code.runs, contents),
            class_="about",
        ),
        element("p", code.reason, class_="reason") if code.reason else None,
        element("p", subject, class_="subject") if subject not in ("", _first_paragraph(code.reason)) else None,
        element("p", *(join(element("mark", change), " ") for change in code.changes)) if code.changes else None,
        *(element("p", note, class_="note") for note in code.notes),
        _difference(code, base),
        id=f"code-{i}",
    )


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _date(commit: Commit) -> str:
    try:
        return f"{datetime.fromtimestamp(commit.date, timezone.utc):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):  # git takes any number
        return "at an impossible time"


def _difference(code: Code, base: Code | None) -> Html | None:
    if code.difference is None or base is None:
        return None
    if not code.difference:
        return element("p", f"The same code as {base.tag}.", class_="quiet")
    lines, more = _cut(code.difference)
    total = next((line.strip() for line in lines if " changed, " in line), "different")
    rest = f"\n… and {more:,} more lines. Type: git diff {base.hash[:10]} {code.hash[:10]}" if more else ""
    text = join(*(join(_diff_line(line), "\n") for line in lines), rest)
    head = element("summary", f"Compared with {base.tag}: {total}")
    return element("details", head, element("pre", text, tabindex=0, class_="diff"))


def _diff_line(line: str) -> Html:
    kind = {"+": "added", "-": "removed", "@": "place"}.get(line[:1])
    return element("span", line, class_=kind) if kind and not line.startswith(("+++", "---")) else join(line)


def _cut(difference: str) -> tuple[list[str], int]:
    """Return the first lines of a difference, and the number of lines left out."""
    lines = difference.split("\n")
    return lines[:MOST_LINES], max(0, len(lines) - MOST_LINES)


def logs(contents: list[Content]) -> Html | None:
    """Return the ends of the logs of runs that failed or died."""
    shown = [_log(i, content, content.log) for i, content in enumerate(contents) if content.log is not None]
    return join(*shown) if shown else None


def _log(i: int, content: Content, log: Tail) -> Html:
    extent = "the whole log" if log.is_whole else f"the last {count(len(log.lines), 'line')} of the log"
    head = element("summary", element("h3", content.run), " ", content.ending, element("small", f" {extent}"))
    text = "\n".join(log.lines) if log.lines else "(nothing was printed)"
    return element("details", head, element("pre", text, tabindex=0), id=f"log-{i}", open=True)
