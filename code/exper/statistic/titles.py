"""Titles, `__statistic__/title/<name>.json`: which columns a table has, in which order and under which headers.

    {
        "hparam": {
            "optimizer.lr": "learning rate",    // a comment, as # and /* */ are
            // "epochs": "epochs",              a name that is commented out stays known, and out
        },
        "metric": {
            "best/val/acc": "accuracy",
        },
    }

It is the user's file: text is only put in, byte for byte nothing of theirs changes. Libraries that read JSON with
comments drop them, or know no #, so the few lines of this grammar are read here. Every line that we write ends in a
comma: lines can be moved and commented out.
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
    """A pair of braces: the members between them, and where more can be put in."""

    names: dict[str, str] = field(default_factory=dict)
    start: int = 0  # of its opening brace
    last: int = 0  # of its last member, or the opening brace
    end: int = 0  # of its closing brace
    is_open: bool = True  # a member can follow without a comma before it


@dataclass
class Title:
    """What a title says, and its text."""

    text: str
    sections: dict[str, Section]
    whole: Section
    commented: set[str]

    def columns(self) -> dict[str, str]:
        """Return the header of each column."""
        pairs = ((part, *pair) for part, section in self.sections.items() for pair in section.names.items())
        return {f"{part}/{name}": header for part, name, header in pairs}


# -- reading -----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Title | None:
    """Return the title in a file; None if there is no such file.

    Raises:
        Refused: it can't be read; the line is named.
    """
    try:
        content = files.read_saved(path)
    except FileNotFoundError:
        return None
    return _Reader(str(path), content.decode(errors="surrogateescape")).title()


class _Reader:
    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        every = list(_TOKEN.finditer(text))
        self._tokens = [token for token in every if token.lastgroup not in ("space", "comment")]
        self._comments = [token[0] for token in every if token.lastgroup == "comment"]
        self._at = 0

    def title(self) -> Title:
        sections: dict[str, Section] = {}
        whole = self._object(lambda name: sections.update({self._known(name): self._section()}))
        if self._at < len(self._tokens):
            raise self._refusal(f"{self._tokens[self._at][0][:40]!r} follows the last brace")
        return Title(self._text, sections, whole, self._commented())

    def _section(self) -> Section:
        names: dict[str, str] = {}
        found = self._object(lambda name: names.update({name: self._string("a header in double quotes")}))
        found.names = names
        return found

    def _object(self, take_value: Callable[[str], None]) -> Section:
        """Read `{"name": value, …}`, where `take_value` reads the value of a name."""
        start = self._mark("{").start()
        section = Section(start=start, last=start)
        taken = set()
        while not self._is_next("}"):
            if not section.is_open:
                self._check_no_comma_is_missing()
                break
            name = self._string("a name in double quotes")
            if name in taken:
                self._at -= 1
                raise self._refusal(f"{name!r} is there for the second time")
            taken.add(name)
            self._mark(":")
            take_value(name)
            section.last, section.is_open = self._tokens[self._at - 1].start(), self._is_next(",")
            self._at += section.is_open
        section.end = self._mark("}").start()
        return section

    def _check_no_comma_is_missing(self) -> None:
        if self._at < len(self._tokens) and self._tokens[self._at].lastgroup == "string":
            raise self._refusal(f"a comma is missing before {self._tokens[self._at][0][:40]}")

    def _known(self, name: str) -> str:
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
        found = set()
        for quoted in (name for comment in self._comments for name in _NAME.findall(comment)):
            with contextlib.suppress(ValueError):
                found.add(str(json.loads(quoted, strict=False)))
        return found


# -- adding ------------------------------------------------------------------------------------------------------------


def add(path: Path, names: dict[str, list[str]]) -> list[str]:
    """Put the names that a title does not know into it, its own header each, and return them; make it if need be.

    Args:
        path: the file.
        names: the names of each section.

    Raises:
        Refused: the file can't be read.
    """
    while True:
        before = read(path)
        title = before or _Reader(str(path), "{\n}\n").title()
        new = {part: [name for name in found if not _knows(title, part, name)] for part, found in names.items()}
        added = [f"{part}/{name}" for part, found in new.items() for name in found]
        if not added:
            return []
        with contextlib.suppress(_SavedMeanwhileError):
            _replace(path, before, extended(title, new))
            return added


def _knows(title: Title, part: str, name: str) -> bool:
    known = title.sections.get(part)
    return name in title.commented or (name in known.names if known else part in title.commented)


class _SavedMeanwhileError(Exception):
    """The title is not what was read any more."""


def _replace(path: Path, before: Title | None, text: str) -> None:
    """Replace what was read, unless an editor has saved it since."""

    def check() -> None:
        now = path.read_bytes() if path.exists() else None
        if now != (before and before.text.encode(errors="surrogateescape")):
            raise _SavedMeanwhileError

    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(Path(os.path.realpath(path)), check=check) as file:
        file.write(text.encode(errors="surrogateescape"))


def extended(title: Title, new: dict[str, list[str]]) -> str:
    """Return the text of a title with names put in, at the end of each section."""
    places = []
    missing = []
    for part in (part for part in SECTIONS if new.get(part)):
        members = [f"{_quoted(name)}: {_quoted(name)}," for name in new[part]]
        if part in title.sections:
            places.append((title.sections[part], members))
        else:
            missing += [f'"{part}": {{', *(_INDENT + member for member in members), "},"]
    text = title.text
    if missing:
        text = _put_in(text, title.whole, missing)  # behind all sections: their places stay right
    for section, members in sorted(places, key=lambda place: place[0].end, reverse=True):
        text = _put_in(text, section, members)
    return text


def _put_in(text: str, section: Section, lines: list[str]) -> str:
    """Return the text with lines at the end of a section; on a line of their own, whatever stands there."""
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = _indent(text, section.last)
    if not _are_apart(text, section.start, section.last):
        indent = _indent(text, section.start) + _INDENT
    begin = _line_start(text, section.end)
    is_alone = not text[begin : section.end].strip()
    at, before, after = (begin, "", "") if is_alone else (section.end, newline, _indent(text, section.start))
    first, *rest = lines
    comma = "" if section.is_open else ", "
    block = [indent[: max(0, len(indent) - len(comma))] + comma + first, *(indent + line for line in rest)]
    return text[:at] + before + "".join(line + newline for line in block) + after + text[at:]


def _are_apart(text: str, start: int, end: int) -> bool:
    """Tell whether two places are on different lines."""
    return _line_start(text, start) != _line_start(text, end)


def _line_start(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _indent(text: str, at: int) -> str:
    """Return what the line of a place begins with."""
    match = re.compile(r"[ \t]*").match(text, _line_start(text, at))
    return match[0] if match else ""


def _quoted(name: str) -> str:
    quoted = json.dumps(name, ensure_ascii=False)
    try:
        quoted.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a pair
        return json.dumps(name)
    return quoted
