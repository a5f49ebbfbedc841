"""Titles, `__statistic__/title/<name>.json`: which columns a table has, in which order and under which headers.

    {
        "hparam": {
            "optimizer.lr": "learning rate",    // a comment; # and /* */ work as well
            // "epochs": "epochs",              a name that is commented out is not added again
        },
        "metric": {
            "best/val/acc": "accuracy",
        },
    }

The file is the user's: `title` only inserts text and changes no byte of theirs. Libraries that read JSON with comments
drop the comments, or do not accept #, so the few rules of this grammar are here. Every line that `title` writes ends
in a comma, so that lines can be moved and commented out.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from exper.core import files
from exper.core.errors import Refused, did_you_mean

SECTIONS = ("hparam", "metric")
_INDENT = "    "
_TOKEN = re.compile(
    r'(?P<space>[\s\ufeff]+)|(?P<comment>(?://|\#)[^\r\n]*|/\*.*?\*/)|(?P<string>"(?:[^"\\\r\n]|\\.)*")'
    r"|(?P<mark>[{}:,])|(?P<other>.[^\s{}:,\"#/]*)",
    re.DOTALL,
)
_NAME = re.compile(r'("(?:[^"\\\r\n]|\\.)*")\s*:')


@dataclass
class Section:
    """A pair of braces: the members between them, and the offsets that a new member needs."""

    headers: dict[str, str] = field(default_factory=dict)  # by name
    start: int = 0  # of the opening brace
    last: int = 0  # of the last token of the last member, or of the opening brace
    end: int = 0  # of the closing brace
    is_open: bool = True  # the next member needs no comma before it


@dataclass
class Title:
    """A parsed title, and its text."""

    text: str
    sections: dict[str, Section]
    whole: Section
    commented: set[str]  # names in comments

    def columns(self) -> dict[str, str]:
        """Return the header of each column."""
        return {
            f"{kind}/{name}": header
            for kind, section in self.sections.items()
            for name, header in section.headers.items()
        }


# -- reading -----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Title | None:
    """Return the title in a file; None if there is no such file.

    Raises:
        Refused: it is no title; the error names the line.
    """
    try:
        content = files.read_saved(path)
    except FileNotFoundError:
        return None
    return _Reader(str(path), content.decode(errors="surrogateescape")).title()


class _Reader:
    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        tokens = list(_TOKEN.finditer(text))
        self._tokens = [token for token in tokens if token.lastgroup not in ("space", "comment")]
        self._comments = [token[0] for token in tokens if token.lastgroup == "comment"]
        self._at = 0

    def title(self) -> Title:
        sections: dict[str, Section] = {}
        whole = self._object(lambda name: sections.update({self._checked(name): self._section()}))
        if self._at < len(self._tokens):
            raise self._refusal(f"{self._tokens[self._at][0][:40]!r} follows the last brace")
        return Title(self._text, sections, whole, self._commented())

    def _section(self) -> Section:
        headers: dict[str, str] = {}
        section = self._object(lambda name: headers.update({name: self._string("a header in double quotes")}))
        section.headers = headers
        return section

    def _object(self, take_value: Callable[[str], None]) -> Section:
        """Read `{"name": value, …}`; `take_value` reads the value of a name."""
        start = self._mark("{").start()
        section = Section(start=start, last=start)
        names = set()
        while not self._is_next("}"):
            if not section.is_open:
                self._check_no_comma_is_missing()
                break
            name = self._string("a name in double quotes")
            if name in names:
                self._at -= 1
                raise self._refusal(f"{name!r} is there for the second time")
            names.add(name)
            self._mark(":")
            take_value(name)
            section.last = self._tokens[self._at - 1].start()
            section.is_open = self._is_next(",")
            self._at += section.is_open
        section.end = self._mark("}").start()
        return section

    def _check_no_comma_is_missing(self) -> None:
        if self._at < len(self._tokens) and self._tokens[self._at].lastgroup == "string":
            raise self._refusal(f"a comma is missing before {self._tokens[self._at][0][:40]}")

    def _checked(self, name: str) -> str:
        if name not in SECTIONS:
            self._at -= 2
            raise self._refusal(
                f"there is no section {name!r}.{did_you_mean(name, SECTIONS)} It has: {', '.join(SECTIONS)}"
            )
        return name

    def _string(self, what: str) -> str:
        token = self._next(what)
        if token.lastgroup == "string":
            with contextlib.suppress(ValueError):
                return str(json.loads(token[0], strict=False))
        self._at -= 1
        raise self._refusal(f"{token[0][:40]!r} stands where {what} belongs")

    def _mark(self, mark: str) -> "re.Match[str]":
        token = self._next(repr(mark))
        if token[0] != mark:
            self._at -= 1
            raise self._refusal(f"{token[0][:40]!r} stands where {mark!r} belongs")
        return token

    def _is_next(self, mark: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at][0] == mark

    def _next(self, what: str) -> "re.Match[str]":
        if self._at == len(self._tokens):
            raise self._refusal(f"it ends where {what} belongs")
        self._at += 1
        return self._tokens[self._at - 1]

    def _refusal(self, why: str) -> Refused:
        offset = self._tokens[self._at].start() if self._at < len(self._tokens) else len(self._text)
        line = len(re.findall(r"\r\n|\r|\n", self._text[:offset])) + 1
        return Refused(f"{self._name}, line {line}: {why}.")

    def _commented(self) -> set[str]:
        names = set()
        for quoted in (name for comment in self._comments for name in _NAME.findall(comment)):
            with contextlib.suppress(ValueError):
                names.add(str(json.loads(quoted, strict=False)))
        return names


# -- adding ------------------------------------------------------------------------------------------------------------


def add(path: Path, names: dict[str, list[str]]) -> list[str]:
    """Add the names that a title lacks, each as its own header, and return them; make the title if there is none.

    Args:
        path: the file.
        names: the names of each section.

    Raises:
        Refused: the file is no title.
    """
    while True:
        before = read(path)
        title = before or _Reader(str(path), "{\n}\n").title()
        new = {kind: [name for name in names[kind] if not _has(title, kind, name)] for kind in names}
        columns = [f"{kind}/{name}" for kind, missing in new.items() for name in missing]
        if not columns:
            return []
        with contextlib.suppress(_ChangedError):
            _replace(path, before, extended(title, new))
            return columns


def _has(title: Title, kind: str, name: str) -> bool:
    """Tell whether a title has a name, or has it, or its whole section, in a comment."""
    if name in title.commented:
        return True
    section = title.sections.get(kind)
    return kind in title.commented if section is None else name in section.headers


class _ChangedError(Exception):
    """The file has changed since it was read."""


def _replace(path: Path, before: Title | None, text: str) -> None:
    """Replace what was read, unless an editor has saved it since."""

    def check() -> None:
        now = path.read_bytes() if path.exists() else None
        if now != (before and before.text.encode(errors="surrogateescape")):
            raise _ChangedError

    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(Path(os.path.realpath(path)), check=check) as file:
        file.write(text.encode(errors="surrogateescape"))


def extended(title: Title, new: dict[str, list[str]]) -> str:
    """Return the text of a title with names added at the end of each section."""
    members = {kind: [f"{_quoted(name)}: {_quoted(name)}," for name in new[kind]] for kind in SECTIONS if new.get(kind)}
    text = title.text
    sections = []  # that the title lacks
    for kind in (kind for kind in members if kind not in title.sections):
        sections += [f'"{kind}": {{', *(_INDENT + member for member in members[kind]), "},"]
    if sections:
        text = _insert(text, title.whole, sections)  # first, as it is behind all other places
    present = [(title.sections[kind], members[kind]) for kind in members if kind in title.sections]
    for section, lines in sorted(present, key=lambda pair: pair[0].end, reverse=True):  # each shifts what follows it
        text = _insert(text, section, lines)
    return text


def _insert(text: str, section: Section, members: list[str]) -> str:
    """Return the text with members, a line each, before the closing brace of a section."""
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = _member_indent(text, section)
    lines = [indent + member for member in members]
    if not section.is_open:  # a comma right after the last member might be inside its comment
        lines[0] = f"{indent[:-2]}, {members[0]}"
    block = "".join(line + newline for line in lines)
    line_start = _line_start(text, section.end)
    if not text[line_start : section.end].strip():  # the closing brace begins its line
        return text[:line_start] + block + text[line_start:]
    return text[: section.end] + newline + block + _indent(text, section.start) + text[section.end :]


def _member_indent(text: str, section: Section) -> str:
    """Return the indent of the last member; if it shares the line of the opening brace, one level more than that."""
    if _line_start(text, section.last) == _line_start(text, section.start):
        return _indent(text, section.start) + _INDENT
    return _indent(text, section.last)


def _line_start(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _indent(text: str, at: int) -> str:
    """Return the blanks at the start of the line of an offset."""
    match = re.compile(r"[ \t]*").match(text, _line_start(text, at))
    return match[0] if match else ""


def _quoted(name: str) -> str:
    quoted = json.dumps(name, ensure_ascii=False)
    try:
        quoted.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(name)
    return quoted
