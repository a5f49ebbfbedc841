"""What the page is made of."""

import hashlib
import re

import pytest

from exper.core.messages import printable
from exper.views.report import page
from exper.views.report.markup import Html, data, element, join, short, value

SHA256 = {
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
HOSTILE = "</script><img src=x onerror='alert(1)'>\"&\u2028\u202e\x1b[31m\udcff"


@pytest.mark.parametrize("name", SHA256)
def test_the_library_is_as_its_authors_published_it(name: str) -> None:
    assert hashlib.sha256((page.FOLDER / "uplot" / name).read_bytes()).hexdigest() == SHA256[name]


def test_no_script_or_style_of_ours_can_end_its_element() -> None:
    for name in (*page.STYLE, *page.SCRIPTS):
        text = (page.FOLDER / name).read_text()
        assert not re.search(r"</(script|style)|<!--|\r", text), name
        assert "innerHTML" not in text, name


def test_what_is_no_markup_of_ours_is_escaped() -> None:
    shown = element("td", HOSTILE, element("b", 1), None, class_=HOSTILE, hidden=True, title=None)
    assert re.findall("<[^>]*>", shown)[1:] == ["<b>", "</b>", "</td>"]
    assert shown.isprintable()
    assert join(Html("<i>"), "<i>") == "<i>&lt;i&gt;"


def test_data_cannot_end_its_script_and_is_ascii() -> None:
    text = data({HOSTILE: [1, HOSTILE]})
    assert "<" not in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", "a\nb"), ("\x1b[0m", "\\x1b[0m"), ("\u202eabc", "\\u202eabc"), ("\udcff", "\\udcff"), ("é漢😀", "é漢😀")],
)
def test_what_cannot_be_seen_is_an_escape(text: str, shown: str) -> None:
    assert printable(text, keep="\n") == shown


@pytest.mark.parametrize(
    ("content", "full", "four"),
    [(1e-5, "1e-05", "1.000e-05"), (0.98611111, "0.98611111", "0.9861"), (84146, "84146", "84146"),
     (None, "None", "None"), (123456.78, "123456.78", "123457"), (float("nan"), "nan", "nan"), (True, "True", "True"),
     ("a b", "a b", "a b"), ([1, "x"], "[1, 'x']", "[1, 'x']"), (0.0, "0.0", "0.000")],
)  # fmt: skip
def test_settings_have_all_digits_and_results_four(content: object, full: str, four: str) -> None:
    assert (value(content), short(content)) == (full, four)
