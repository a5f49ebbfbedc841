"""The cells of a table as text, and tables as CSV, Markdown, LaTeX and HTML.

A cell reads as `name=value` is typed: a number with every digit, None, True, a list in Python's syntax. A string is
bare, but quoted if it would read as one of these, or as a formula in a spreadsheet. Numbers that `name=` can't express
are inf, -inf and nan.
"""

import csv
import functools
import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from exper.config import config_file
from exper.core.errors import Refused
from exper.core.messages import printable

MISSING: Any = object()
_FORMULA = tuple("=+-@\t\r")  # the first character of a formula in a spreadsheet
_MAY_BE_OTHER = re.compile(r"""[\s0-9.'"\[({=+@#\\-]|[a-zA-Z]{1,2}['"]|(None|True|False|not)\b|(inf|nan)$""")


def text(value: Any) -> str:
    """Return the cell of a value; that of a missing value is empty."""
    return _WRITERS.get(type(value), repr)(value)


def rounded(value: Any) -> str:
    """Return a cell that is easy to read: a number with at most six digits."""
    if type(value) is not float:
        return text(value)
    short = f"{value:.6g}"
    return repr(value) if float(short) == value else short


@functools.lru_cache(maxsize=10_000)
def _string(value: str) -> str:
    return repr(value) if not value or (_MAY_BE_OTHER.match(value) and _is_other(value)) else value


def _is_other(value: str) -> bool:
    """Tell whether a string would read as another value, or as a formula in a spreadsheet."""
    if value.startswith(_FORMULA) or value in ("inf", "nan"):
        return True
    typed = value.encode(errors="replace").decode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(config_file.parse_change(f"name={typed}")[1] != typed)
        except Refused:
            return True


_WRITERS: dict[type, Callable[[Any], str]] = {str: _string, type(MISSING): lambda _: ""}


# -- formats -----------------------------------------------------------------------------------------------------------

Lines = Sequence[Sequence[str]]


def _csv(lines: Lines) -> str:
    file = io.StringIO()
    plain, quoted = (csv.writer(file, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    head, *rows = lines
    for line in [[repr(header) if header.startswith(_FORMULA) else header for header in head], *rows]:
        (quoted if "\r" in "".join(line) else plain).writerow(line)  # Python 3.11 leaves a lone \r bare
    return file.getvalue()


def _markdown(lines: Lines) -> str:
    head, *rows = (
        [_MARKDOWN.sub(r"\\\g<0>", html.escape(printable(cell), quote=False)) for cell in line] for line in lines
    )
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def _latex(lines: Lines) -> str:
    head, *rows = (" & ".join(_LATEX_CHARACTER.sub(_latex_of, printable(cell)) for cell in line) for line in lines)
    parts = [rf"\begin{{tabular}}{{{'l' * len(lines[0])}}}", r"\toprule", rf"{head} \\", r"\midrule"]
    return "\n".join([*parts, *(rf"{row} \\" for row in rows), r"\bottomrule", r"\end{tabular}", ""])


def _html(lines: Lines) -> str:
    kinds = ["th", *["td"] * (len(lines) - 1)]
    rows = (
        "<tr>" + "".join(f"<{kind}>{html.escape(printable(cell))}</{kind}>" for cell in line) + "</tr>\n"
        for kind, line in zip(kinds, lines, strict=True)
    )
    return f'<!doctype html>\n<meta charset="utf-8">\n<table>\n{"".join(rows)}</table>\n'


def _latex_of(match: "re.Match[str]") -> str:
    return _LATEX.get(match[0], "\\" + match[0])


_MARKDOWN = re.compile(r"[\\`*_\[\]|~$]")
_LATEX_CHARACTER = re.compile(r"[\\{}$&#_%~^<>|\"*\[]")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "*": "{*}",  # at the start of a row, \\ takes * and [ for arguments
    "[": "{[}",
}
FORMATS: dict[str, tuple[str, Callable[[Lines], str]]] = {
    "csv": ("csv", _csv),
    "md": ("md", _markdown),
    "latex": ("tex", _latex),
    "html": ("html", _html),
}
