"""Names, references and trailers."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exper.core.errors import Refused
from exper.repository.objects import TagObject
from exper.runs import tags


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.sampled_from("ab1.-_+=~^: /@{\\*?[\x1bé"), max_size=8) | st.sampled_from(["a.lock", "a..b", "x" * 200])
)
def test_what_is_taken_as_a_tag_is_one_for_git(name: str) -> None:
    try:
        tags.check(name)
    except Refused:
        return
    subprocess.run(["git", "check-ref-format", f"refs/tags/{name}"], check=True)


@pytest.mark.parametrize(
    ("text", "expected"), [("a", ("a", None)), ("a/", ("a", None)), ("a/0", ("a", 0)), ("a/12/", ("a", 12))]
)
def test_a_reference_is_a_tag_or_a_run(text: str, expected: tuple[str, int | None]) -> None:
    reference = tags.parse_reference(text)
    assert (reference.tag, reference.number) == expected


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_trailers_are_read_back_whatever_the_reason(why: str, value: str) -> None:
    message = tags.message("base", why, [("Exper-Seed", 7), ("Exper-Set", value)])
    said = tags.trailers(TagObject("base", "", "", message))
    assert said["Exper-Seed"] == "7"
    assert said.keys() == {"Exper-Seed", "Exper-Set"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), (str(2**63 - 1), 2**63 - 1), (str(2**63), None), ("", None), ("-1", None), ("٣", None),
     ("1" * 5000, None), ("1 ", None), ("1\n", None)],
)  # fmt: skip
def test_a_whole_number(text: str, number: int | None) -> None:
    assert tags.whole_number(text) == number


@pytest.mark.parametrize("why", ["dropout?", "two\nlines", "two\n\nparagraphs", "Exper-Seed: 9", "a: b\n\nc"])
def test_the_reason_of_a_tag_is_what_the_user_said(why: str) -> None:
    message = tags.message("base", why, [("Exper-Seed", 7), ("Exper-Set", "lr=1"), ("Exper-Set", "epochs=2")])
    tag = TagObject("base", "", "", message)
    assert (tags.reason(tag), tags.changes(tag)) == (why, ["lr=1", "epochs=2"])


@pytest.mark.parametrize(("message", "reason"), [("", ""), ("mine\n", "mine"), ("a\n\nb\n", "a\n\nb")])
def test_a_tag_that_is_not_ours_is_all_reason(message: str, reason: str) -> None:
    assert tags.reason(TagObject("base", "", "", message)) == reason


def test_a_tag_without_a_reason_has_none() -> None:
    assert tags.reason(TagObject("base", "", "", tags.message("base", None, [("Exper-Seed", 7)]))) == ""
