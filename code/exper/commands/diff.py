"""Show the differences between two runs, tags or config files.

Runs: settings, code, seed, packages, machine, data, and metrics with their difference, B - A. Tags: settings, code and
seed. Config files, whose names end in .py: settings.

With --json: an object with `a`, `b`, `code` (lines `added` and `removed` of each file) and, by section and name, both
values as `a` and `b`; a missing value is left out. --code adds `diff`. `notes` says what can't be compared.

Examples:
    exper diff baseline/0 wide/0
    exper diff baseline wide --code      with the full diff of the code
    exper diff baseline code/config.py
"""

import contextlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.messages import MOST, count, printable
from exper.repository.client import GitFailed
from exper.repository.repository import Repository
from exper.runs import commits
from exper.statistic import cells, difference, summary
from exper.statistic.difference import ABSENT, METRICS, PACKAGES, RUN, SETTINGS, Pair, Side

Sections = dict[str, dict[str, Pair]]
Files = dict[str, tuple[int, int] | None]
_TITLES = {"outside_code": "code outside the tag"}
_RED = 31
_GREEN = 32
_CYAN = 36
_BOLD = 1
_NAMED = 3  # differences in the first line


class CodeDiff(NamedTuple):
    """The changed files, the patch if it is wanted, and a note if the code can't be compared."""

    files: Files
    patch: str = ""
    note: str = ""


def diff(arguments: list[str], project: paths.Project) -> int:
    """Read both sides, compare them and print the differences."""
    options = _parser().parse_args(arguments)
    a = difference.side(project, options.a)
    b = difference.side(project, options.b)
    sections = difference.sections(a, b)
    code, patch, note = _code(project, a, b, is_whole=options.code)
    notes = [line for line in (note, _unknown(a, b), _unknown(b, a)) if line]
    if options.json:
        more = {"diff": patch} if options.code else {}
        print(summary.json_of(_object(a, b, sections, code) | more | ({"notes": notes} if notes else {})))
        return 0
    if SETTINGS in sections:
        code.pop(commits.CONFIG, None)  # the settings show its changes
    if len(sections.get(PACKAGES, ())) > MOST:
        sections[PACKAGES] = _required_first(project, a, sections[PACKAGES])
    print(printable(_headline(a, b, sections, code)))
    for name, pairs in sections.items():
        if name != METRICS:
            _show(name, pairs)
    _show_code(code, patch)
    if METRICS in sections:
        _show(METRICS, sections[METRICS])
    for line in notes:
        print(printable(line))
    return 0


def _parser() -> Parser:
    parser = Parser("exper diff", __doc__)
    for name in ("a", "b"):
        parser.add_argument(name, metavar=name.upper(), help="tag/id, a tag, or a config file")
    parser.add_argument("--code", action="store_true", help="show the full diff of the code")
    parser.add_argument("--json", action="store_true", help="print raw values as JSON")
    return parser


def _code(project: paths.Project, a: Side, b: Side, *, is_whole: bool) -> CodeDiff:
    """Compare the code of two commits; the patch is made if `is_whole`."""
    if a.commit is None or b.commit is None:
        lacking = a if a.commit is None else b
        is_wanted = is_whole or METRICS in lacking.sections
        return CodeDiff({}, note=f"code: {lacking.name} has no commit" if is_wanted else "")
    if a.commit == b.commit:
        return CodeDiff({})
    repository = Repository(project.root)
    existing = repository.commits([a.commit, b.commit])
    for side in (a, b):
        if side.commit not in existing:
            note = f"code: this repository has no commit {str(side.commit)[:10]}, of {side.name}"
            return CodeDiff({}, note=note)
    try:
        patch = repository.difference(a.commit, b.commit) if is_whole else ""
        return CodeDiff(repository.changed_lines(a.commit, b.commit), patch)
    except GitFailed as error:  # a partial clone
        return CodeDiff({}, note=f"code: {error}")


def _required_first(project: paths.Project, side: Side, pairs: dict[str, Pair]) -> dict[str, Pair]:
    """Return packages, those that the code requires first."""
    required: set[str] = set()
    with contextlib.suppress(GitFailed):  # the commit is not here
        required = commits.requirements(Repository(project.root), side.commit) if side.commit else set()
    return {name: pairs[name] for name in sorted(pairs, key=lambda name: name not in required)}


def _unknown(side: Side, other: Side) -> str:
    """Return a line that names the sections that a run lacks: settings, or those that the other run has."""
    wanted = dict.fromkeys([SETTINGS, *other.sections])
    lacking = [_TITLES.get(name, name) for name in wanted if name not in side.sections]
    are_runs = METRICS in side.sections and METRICS in other.sections
    return f"not known of {side.name}: {', '.join(lacking)}" if lacking and are_runs else ""


def _object(a: Side, b: Side, sections: Sections, code: Files) -> dict[str, Any]:
    lines = {
        path: {} if changed is None else {"added": changed[0], "removed": changed[1]} for path, changed in code.items()
    }
    values = {
        section: {name: _values(section, pair) for name, pair in pairs.items()} for section, pairs in sections.items()
    }
    return {"a": a.name, "b": b.name, **({"code": lines} if lines else {}), **values}


def _values(section: str, pair: Pair) -> dict[str, Any]:
    every = {"a": pair.a, "b": pair.b, "difference": pair.difference if section == METRICS else ABSENT}
    return {name: value for name, value in every.items() if value is not ABSENT}


# -- for people --------------------------------------------------------------------------------------------------------


def _headline(a: Side, b: Side, sections: Sections, code: Files) -> str:
    names = [text for name, pairs in sections.items() if name != METRICS for text in _named(name, list(pairs))]
    names += [f"code ({count(len(code), 'file')})"] if code else []
    names += [METRICS] if METRICS in sections else []
    if not names:
        return f"{a.name} and {b.name} are the same"
    return f"{a.name} -> {b.name}: the same but for {', '.join(names)}"


def _named(section: str, names: list[str]) -> list[str]:
    if section not in (RUN, SETTINGS, PACKAGES):
        return [_TITLES.get(section, section)]
    return names if len(names) <= _NAMED else [f"{len(names)} {section}"]


def _show(section: str, pairs: dict[str, Pair]) -> None:
    print(_coloured(_TITLES.get(section, section), _BOLD))
    names = list(pairs)
    if section == PACKAGES:
        names = names[:MOST]
    write = cells.text if section == SETTINGS else str
    cell = {name: (_text(pairs[name].a, write), _text(pairs[name].b, write)) for name in names}
    widths = [max(len(printable(name)) for name in names), max(len(a) for a, _ in cell.values())]
    right = max(len(b) for _, b in cell.values())
    for name, (a, b) in cell.items():
        change = pairs[name].difference if section == METRICS else ABSENT
        end = b if change is ABSENT else f"{b:{right}}"
        line = f"  {printable(name):{widths[0]}}  {_coloured(f'{a:{widths[1]}}', _RED)}  ->  {_coloured(end, _GREEN)}"
        print(line + ("" if change is ABSENT else f"  {change:+}"))
    if len(names) < len(pairs):
        print(f"  and {len(pairs) - len(names)} more; --json has all")


def _text(value: Any, write: Callable[[Any], str]) -> str:
    return "-" if value is ABSENT else printable(write(value))


def _show_code(code: Files, patch: str) -> None:
    if not code and not patch:
        return
    print(_coloured("code", _BOLD))
    if patch:
        print("\n".join(map(_coloured_line, patch.splitlines())))
        return
    width = max(len(printable(path)) for path in code)
    for path, changed in code.items():
        lines = (
            "no text"
            if changed is None
            else f"{_coloured(f'+{changed[0]}', _GREEN)} {_coloured(f'-{changed[1]}', _RED)}"
        )
        print(f"  {printable(path):{width}}  {lines}")


_OF_A_PATCH = re.compile(r"(\+)|(-)|(@@|diff --git)")


def _coloured_line(line: str) -> str:
    match = _OF_A_PATCH.match(line)
    text = printable(line, keep="\t")
    return _coloured(text, (_GREEN, _RED, _CYAN)[match.lastindex - 1]) if match and match.lastindex else text


def _coloured(text: str, colour: int) -> str:
    """Return text in a colour, on a terminal whose user has not turned that off."""
    is_wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{colour}m{text}\x1b[0m" if is_wanted else text
