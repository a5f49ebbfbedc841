"""The reader of statistic.json: missing is no error, damaged is one, and a user's own program may write anything."""

import json
from pathlib import Path

import pytest

from exper.core import paths, statistic_file
from exper.core.errors import Refused


@pytest.fixture
def run(tmp_path: Path) -> paths.Run:
    return paths.Run(tmp_path / "base" / "0")


def write(run: paths.Run, text: str) -> None:
    run.folder.mkdir(parents=True)
    run.statistic.write_text(text)


def test_a_missing_file_is_empty_unless_it_is_required(run: paths.Run) -> None:
    assert statistic_file.read(run) is None
    assert statistic_file.read_or_empty(run).content == {}
    assert statistic_file.read_if_readable(run).content == {}
    with pytest.raises(Refused, match=r"base/0 has no statistic.json: it was never trained. Type: continue base/0"):
        statistic_file.require(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "[" * 100_000])
def test_a_damaged_file_is_named_unless_it_need_not_be_readable(run: paths.Run, text: str) -> None:
    write(run, text)
    for read in (statistic_file.read, statistic_file.read_or_empty, statistic_file.require):
        with pytest.raises(Refused, match=r"statistic.json is damaged"):
            read(run)
    assert statistic_file.read_if_readable(run).content == {}


def test_sections_of_another_type_are_empty(run: paths.Run) -> None:
    write(run, json.dumps({"hparam": 1, "metric": {"best": [2], "last": {"epoch": 3}}}))
    statistic = statistic_file.require(run)
    assert (statistic.settings, statistic.metrics("best"), statistic.metrics("last")) == ({}, {}, {"epoch": 3})
    assert statistic.section("device") == {}


def test_a_new_test_leaves_the_rest_as_it_is(run: paths.Run) -> None:
    before = {"format": 1, "hparam": {"lr": 0.1}, "metric": {"best": {"epoch": 2}, "test": {"epoch": 1}}}
    write(run, json.dumps(before))
    statistic_file.replace_test(run, {"epoch": 2, "test/acc": 0.5})
    metric = before["metric"] | {"test": {"epoch": 2, "test/acc": 0.5}}  # type: ignore[operator]
    assert statistic_file.require(run).content == before | {"metric": metric}
