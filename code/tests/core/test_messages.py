"""Messages on stderr: nothing in them moves the cursor, and many lines are shortened."""

import pytest

from exper.core import messages
from exper.core.errors import Refused, did_you_mean, unknown_name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 大", "größe 大"),
        ("\x1b[2Jb", "\\x1b[2Jb"),
        ("a\u202eb", "a\\u202eb"),
        ("\udcff", "\\udcff"),
        ("\n", "\\n"),
    ],
)
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert messages.printable(text) == shown


def test_of_many_lines_the_first_ten_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert messages.warn("table", map(str, range(12)))
    assert capsys.readouterr().err == "".join(f"table: {line}\n" for line in [*range(10), "and 2 more"])
    assert not messages.warn("table", [])
    assert capsys.readouterr().err == ""


def test_without_a_terminal_a_removal_needs_yes() -> None:
    messages.confirm_removal(yes=True)
    with pytest.raises(Refused, match="Add --yes"):
        messages.confirm_removal(yes=False)


@pytest.mark.parametrize(
    ("name", "meant"), [("basline", "baseline"), ("lr", "optimizer.lr"), ("baseline", None), ("zzz", None)]
)
def test_the_nearest_other_name_is_offered(name: str, meant: str | None) -> None:
    assert did_you_mean(name, ["baseline", "optimizer.lr"]) == (f" Did you mean {meant!r}?" if meant else "")


def test_an_unknown_name_lists_those_there_are() -> None:
    assert str(unknown_name("loss", "focal", ["mse", "l1"])) == "loss: 'focal' is unknown. Known: l1, mse."
    assert str(unknown_name("logger", "x", ())) == "logger: 'x' is unknown. Known: none."
