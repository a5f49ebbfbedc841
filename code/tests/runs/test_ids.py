"""Ids of runs: none is given twice."""

from pathlib import Path

import pytest

from exper.core import paths
from exper.runs import ids


@pytest.fixture
def tag(tmp_path: Path) -> paths.Tag:
    """Return a tag without runs."""
    tag = paths.Project(tmp_path).tag("base")
    tag.folder.mkdir(parents=True)
    return tag


def test_a_tag_without_runs_has_given_none(tag: paths.Tag) -> None:
    assert ids.highest(tag) == -1
    assert not ids.was_given(tag, 0)


def test_the_highest_id_is_remembered_when_its_run_is_gone(tag: paths.Tag) -> None:
    tag.run(4).folder.mkdir()
    ids.save_highest(tag)
    tag.run(4).folder.rmdir()
    assert ids.highest(tag) == 4


@pytest.mark.parametrize("damage", ["", "torn", None])
def test_a_lost_file_never_makes_an_id_of_a_run_free(tag: paths.Tag, damage: str | None) -> None:
    tag.run(4).folder.mkdir()
    ids.save_highest(tag)
    if damage is None:
        tag.last_id.unlink()
    else:
        tag.last_id.write_text(damage)
    assert ids.highest(tag) == 4


def test_removed_ids_were_given(tag: paths.Tag) -> None:
    tag.run(1).folder.mkdir()
    ids.record_removed(tag, 2)
    ids.record_removed(tag, 3)
    assert ids.removed(tag) == [2, 3]
    assert [number for number in range(5) if ids.was_given(tag, number)] == [0, 2, 3]
