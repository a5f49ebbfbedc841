"""Titles: reading and extending a file that the user edits."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exper.core import files
from exper.core.errors import Refused
from exper.statistic import titles as title
from tests.support.texts import is_inserted_into


@pytest.mark.parametrize("before", [None, "{}"])
def test_what_an_editor_saves_while_ours_is_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    path = tmp_path / "mine.json"
    fsync = os.fsync
    if before:
        path.write_text(before)

    def save(handle: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        path.write_text('{"hparam": {"lr": "mine"}}')
        fsync(handle)

    monkeypatch.setattr(os, "fsync", save)
    assert title.add(path, {"hparam": ["lr", "epochs"]}) == ["hparam/epochs"]
    assert is_inserted_into('{"hparam": {"lr": "mine"}}', path.read_text())
    assert list(tmp_path.glob("*mine*")) == [path]


def test_a_title_that_an_editor_is_about_to_write_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.json"
    path.touch()
    monkeypatch.setattr(time, "sleep", lambda _: path.write_text('{"hparam": {"lr": "mine"}}'))
    found = title.read(path)
    assert found is not None
    assert found.columns() == {"hparam/lr": "mine"}


NAMES = st.text(st.characters(), max_size=6)
BLANK = st.sampled_from([" ", "\n", "\r\n", "\t", "    ", "// c\n", "# d\r\n", "/* e\n */", "", ""])
SOUP = st.lists(
    st.sampled_from(
        ['"a"', '"b": "c"', ":", ",", "{", "}", '"hparam"', '"metric"', "//", "#", "/*", "*/", "\n", "5", '"']
    )
)


@st.composite
def titles(draw: st.DrawFn) -> str:
    """Return the text of a title, as a user may have laid it out."""

    def members(values: list[tuple[str, str]]) -> str:
        pieces = [draw(BLANK)]
        for at, (name, value) in enumerate(values):
            last = at == len(values) - 1
            comma = draw(st.sampled_from(["", ","])) if last else ","
            pieces += [json.dumps(name, ensure_ascii=draw(st.booleans())), draw(BLANK), ":", draw(BLANK), value]
            pieces += [draw(BLANK), comma, draw(BLANK)]
        return "{" + "".join(pieces) + "}"

    sections = []
    for part in draw(st.lists(st.sampled_from(title.SECTIONS), unique=True)):
        names = draw(st.lists(NAMES, unique=True, max_size=3))
        sections.append((part, members([(name, json.dumps(draw(NAMES))) for name in names])))
    return draw(BLANK) + members(sections) + draw(BLANK)


def clean(text: str) -> str:
    """Return a text as a file can hold it."""
    return text.encode(errors="backslashreplace").decode()


@settings(deadline=None)
@given(titles().map(clean), st.lists(NAMES.map(clean), unique=True), st.lists(NAMES.map(clean), unique=True))
def test_any_title_keeps_every_line_and_gets_every_name(
    tmp_path_factory: pytest.TempPathFactory, text: str, hparam: list[str], metric: list[str]
) -> None:
    path = tmp_path_factory.mktemp("titles") / "x.json"
    files.replace(path, text)
    before = title.read(path)
    assert before is not None
    wanted = {"hparam": hparam, "metric": metric}
    added = title.add(path, wanted)
    after = path.read_bytes().decode()
    now = title.read(path)
    assert now is not None
    assert is_inserted_into(text, after)
    kept = before.columns()
    assert [pair for pair in now.columns().items() if pair[0] in kept] == list(kept.items())
    assert {*added} == {*now.columns()} - {*kept}
    assert {*now.columns()} >= {f"{part}/{name}" for part, names in wanted.items() for name in names}
    assert title.add(path, wanted) == []


@settings(deadline=None)
@given(st.one_of(SOUP.map("".join), st.text(), st.binary().map(lambda raw: raw.decode(errors="surrogateescape"))))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("titles") / "x.json"
    try:
        content = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        content = text.encode(errors="backslashreplace")
    path.write_bytes(content)
    refused = ""
    try:
        title.add(path, {"hparam": ["new"], "metric": ["best/new"]})
    except Refused as refusal:
        refused = str(refusal)
    after = path.read_bytes()
    assert ", line " in refused if refused else after != content or "new" in text
    assert is_inserted_into(content.decode(errors="surrogateescape"), after.decode(errors="surrogateescape"))
    assert not refused or after == content


def test_the_file_is_not_there_and_stays_away_without_names(tmp_path: Path) -> None:
    assert title.add(tmp_path / "x.json", {"hparam": [], "metric": []}) == []
    assert title.read(tmp_path / "x.json") is None
