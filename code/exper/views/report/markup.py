"""HTML that can hold no markup but ours: every text is escaped, unless it was built here."""

import html
import json
import math
from typing import Any

from exper.core.messages import printable


class Html(str):
    """Text that is HTML already."""


def element(tag: str, *children: Any, **attributes: Any) -> Html:
    """Return an element; None and False leave a child or an attribute out, True is an attribute without a value.

    `class_` is `class`, and `_` in names is `-`.
    """
    named = "".join(_attribute(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    return Html(f"<{tag}{named}>{join(*children)}</{tag}>")


def join(*children: Any) -> Html:
    """Return children one after the other, what is no HTML escaped."""
    shown = (child for child in children if child is not None and child is not False)
    return Html("".join(child if isinstance(child, Html) else _escaped(str(child)) for child in shown))


def _escaped(text: str) -> str:
    return html.escape(printable(text, keep="\n"))


def data(content: Any) -> Html:
    """Return JSON for a script element: ASCII, and without a `<` that could end the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def value(content: Any) -> str:
    """Return a setting, a metric or a fact as config.py would write it, a string without its quotes."""
    return content if isinstance(content, str) else repr(content)


def short(content: Any) -> str:
    """Return a result with 4 digits, whole numbers whole."""
    if not isinstance(content, float) or number(content) is None:
        return value(content)
    return f"{content:.0f}" if 1e4 <= abs(content) < 1e15 else f"{content:#.4g}"


def number(content: Any) -> float | None:
    """Return what sorts as a number: finite ones; True and False are words."""
    is_number = isinstance(content, (int, float)) and not isinstance(content, bool)
    return content if is_number and abs(content) < math.inf else None


def count(number: int, what: str) -> str:
    """Return `1 run` or `2 runs`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def scroll(label: str, inner: Html) -> Html:
    """Return a box of its own for what may be wider than the page; it scrolls by keyboard too."""
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label=label)


def _attribute(name: str, content: Any) -> str:
    if content is None or content is False:
        return ""
    return f" {name}" if content is True else f' {name}="{_escaped(str(content))}"'
