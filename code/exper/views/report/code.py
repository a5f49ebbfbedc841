"""The code of the runs: the commit and message of each tag, and what differs from the first one."""

from dataclasses import dataclass, field
from datetime import datetime, timezone

from exper.core import paths
from exper.core.errors import Refused
from exper.repository.repository import Commit, Repository, TagObject
from exper.runs import tags
from exper.views.report import links
from exper.views.report.content import Content
from exper.views.report.markup import Html, count, element, join

MOST_LINES = 200  # of a difference


@dataclass
class Code:
    """A commit that runs were made from, and its tag."""

    tag: str
    hash: str
    runs: list[int]  # their places in the report
    commit: Commit | None = None
    reason: str = ""  # the tag's message without trailers
    changes: list[str] = field(default_factory=list)  # the `name=value` that `run` got
    notes: list[str] = field(default_factory=list)
    difference: str | None = None  # to the first commit; None: it is the first, or there is none to show


def of(project: paths.Project, contents: list[Content]) -> tuple[list[Code], str]:
    """Return the commits in the order of the runs, and why git can't be asked, or nothing."""
    found: dict[tuple[str, str], Code] = {}
    for i, one in enumerate(contents):
        if one.commit:
            found.setdefault((one.run.tag, one.commit), Code(one.run.tag, one.commit, [])).runs.append(i)
    codes = list(found.values())
    if not codes:
        return [], ""
    try:
        _ask(Repository(project.root), codes)
    except Refused as error:
        return codes, str(error)
    return codes, ""


def _ask(repository: Repository, codes: list[Code]) -> None:
    commits = repository.commits([code.hash for code in codes])
    base = next((code for code in codes if code.hash in commits), None)
    for code in codes:
        code.commit = commits.get(code.hash)
        _tell_of_tag(code, repository.tag(code.tag))
        if code.commit is None:
            code.notes.append("this repository has no such commit")
        elif base is not None and code is not base:
            code.difference = repository.difference(base.hash, code.hash)


def _tell_of_tag(code: Code, tag: TagObject | None) -> None:
    if tag is None or tag.commit != code.hash:
        where = "git has no such tag any more" if tag is None else f"the tag now points to {tag.commit[:10]}"
        code.notes.append(where)
        return
    code.reason, code.changes = tags.reason(tag), tags.changes(tag)


def commits(codes: list[Code], why_not: str, contents: list[Content]) -> Html:
    """Return the commit behind each tag."""
    notes = [element("p", why_not, class_="note")] if why_not else []
    if not codes:
        notes.append(element("p", "No run was made from a commit.", class_="quiet"))
    base = next((one for one in codes if one.commit), None)
    return join(*notes, *(_commit(i, one, base, contents) for i, one in enumerate(codes)))


def _commit(i: int, one: Code, base: Code | None, contents: list[Content]) -> Html:
    subject = one.commit.subject if one.commit else ""
    date = _date(one.commit) if one.commit else ""
    about = [element("code", one.hash[:10]), date, count(len(one.runs), "run")]
    return element(
        "article",
        element("h3", one.tag),
        element(
            "p",
            *(join(element("span", text), " ") for text in about if text),
            links.to(one.runs, contents),
            class_="about",
        ),
        element("p", one.reason, class_="reason") if one.reason else None,
        element("p", subject, class_="subject") if subject not in ("", _first_paragraph(one.reason)) else None,
        element("p", *(join(element("mark", change), " ") for change in one.changes)) if one.changes else None,
        *(element("p", note, class_="note") for note in one.notes),
        _difference(one, base),
        id=f"code-{i}",
    )


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _date(commit: Commit) -> str:
    try:
        return f"{datetime.fromtimestamp(commit.date, timezone.utc):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):  # git takes any number
        return "at an impossible time"


def _difference(one: Code, base: Code | None) -> Html | None:
    if one.difference is None or base is None:
        return None
    if not one.difference:
        return element("p", f"The same code as {base.tag}.", class_="quiet")
    lines, more = _cut(one.difference)
    total = next((line.strip() for line in lines if " changed, " in line), "different")
    left = f"\n… and {more:,} more lines. Type: git diff {base.hash[:10]} {one.hash[:10]}" if more else ""
    text = join(*(join(_diff_line(line), "\n") for line in lines), left)
    head = element("summary", f"Compared with {base.tag}: {total}")
    return element("details", head, element("pre", text, tabindex=0, class_="diff"))


def _diff_line(line: str) -> Html:
    kind = {"+": "added", "-": "removed", "@": "place"}.get(line[:1])
    return element("span", line, class_=kind) if kind and not line.startswith(("+++", "---")) else join(line)


def _cut(difference: str) -> tuple[list[str], int]:
    """Return the first lines of a difference, and how many are left out."""
    lines = difference.split("\n")
    return lines[:MOST_LINES], max(0, len(lines) - MOST_LINES)
