"""Words of a command line, and entries of lists: the runs that they name."""

from pathlib import Path

import pytest

from exper.core import paths
from exper.core.errors import Refused
from exper.runs import select, tags


@pytest.fixture
def project(tmp_path: Path) -> paths.Project:
    """Return a project with runs, a search and a list; their folders are empty."""
    project = paths.Project(tmp_path)
    for name in ("base/0", "base/2", "best/0", "wide+lr=0.1/0", "wide+lr=0.2/0", "untagged/0"):
        (project.result / name).mkdir(parents=True)
    project.lists.mkdir(parents=True)
    project.list_file("mine").write_text("best/0\nbase/7\nba*\nbase/0\n")
    return project


def _names(runs: list[paths.Run]) -> list[str]:
    return list(map(str, runs))


@pytest.mark.parametrize(
    ("words", "names"),
    [(["base"], ["base/0", "base/2"]), (["base/2/"], ["base/2"]), (["b*"], ["base/0", "base/2", "best/0"]),
     (["b*/[1-9]"], ["base/2"]), (["base/2", "base"], ["base/2", "base/0"]), (["mine"], ["best/0", "base/0", "base/2"]),
     (["wide+*"], ["wide+lr=0.1/0", "wide+lr=0.2/0"]), (["best", "mine"], ["best/0", "base/0", "base/2"])],
)  # fmt: skip
def test_words_name_runs_each_once_and_in_order(project: paths.Project, words: list[str], names: list[str]) -> None:
    assert _names(select.resolve(project, words).runs) == names


def test_a_list_s_unknown_entries_are_told(project: paths.Project) -> None:
    assert select.resolve(project, ["mine"]).unknown == ["mine.txt names 'base/7', and there is no such run; skipped"]


@pytest.mark.parametrize(
    ("word", "message"),
    [("bas", "no run has the tag 'bas'. Did you mean 'base'?"), ("base/1", "there is no run base/1. 'base' has: 0, 2."),
     ("wide", "It is a search. For its trials type: expels wide"), ("none.txt", "there is no list none.txt."),
     ("../x", "can't be a tag"), ("z*", "can't be a tag")],
)  # fmt: skip
def test_a_word_that_names_nothing_is_refused(project: paths.Project, word: str, message: str) -> None:
    with pytest.raises(Refused) as refusal:
        select.resolve(project, [word])
    assert message in str(refusal.value)


def test_a_name_of_both_a_list_and_a_tag_is_refused(project: paths.Project) -> None:
    project.list_file("base").write_text("best/0\n")
    with pytest.raises(Refused, match="'base' is a list and a tag"):
        select.resolve(project, ["base"])


def test_no_entry_reaches_outside_of_the_results(project: paths.Project) -> None:
    (project.root / "0").mkdir()
    for entry in ("..", "../0", "/", str(project.root), "base/../best/0", ".", "base/-0", "base/\u0660"):
        assert select.matching(project, entry) == []


def test_a_single_run_is_named_by_its_tag_alone_only_if_there_is_one(project: paths.Project) -> None:
    assert str(select.single_run(project, "best")) == "best/0"
    with pytest.raises(Refused, match=r"'base' has 2 runs. Name one: base/0, base/2"):
        select.single_run(project, "base")
    with pytest.raises(Refused, match="untagged runs"):
        select.single_run(project, "untagged")


def test_runs_of_a_trial_s_tag_get_a_trial_as_hint(project: paths.Project) -> None:
    with pytest.raises(Refused, match=r"Did you mean 'wide\+lr=0.[12]'"):
        select.runs(project, tags.parse_reference("wide+lr=0.12"))


def test_a_file_name_has_no_sign_of_a_glob_and_is_short(project: paths.Project) -> None:
    assert select.file_name(project, ["base/0", "b*"]) == "base@0,b~"
    long = [f"base/{number}" for number in range(100)]
    assert len(select.file_name(project, long)) < 120
    assert select.file_name(project, long) != select.file_name(project, [*long, "best"])


def test_the_entry_that_names_a_run_is_told_with_its_list_but_not_a_search_s_own(project: paths.Project) -> None:
    project.list_file("finished").write_text("best/0\n")
    project.list_file("wide").write_text("wide+*\n")
    assert select.list_naming(project, {"base/2", "base"}) == ("mine", "ba*")
    assert select.list_naming(project, {"wide+lr=0.1/0"}) is None


def test_the_entry_of_a_list_keeps_a_glob_and_refuses_what_names_no_run(project: paths.Project) -> None:
    assert select.list_entry(project, "b*") == "b*"
    assert select.list_entry(project, "base/2/") == "base/2"
    for word in ("z*", "b*#", "base/1"):
        with pytest.raises(Refused):
            select.list_entry(project, word)
