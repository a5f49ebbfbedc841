"""`exper rm`: what goes, what stays, and what is refused."""

import signal

import pytest

from exper.core import paths
from exper.runs import staging, status
from tests.support import manager, searching
from tests.support.manager import exper, git, record, refused, state, untouched, write


def test_a_run_goes_and_its_id_is_given_to_nobody_again(trained: paths.Project) -> None:
    exper(trained, "rerun", "base")
    trained.list_file("finished").write_text("base/0\nbase/1   # the good one\n")
    with untouched(trained.root):
        exper(trained, "rm", "base/1", "--yes")
    assert manager.finished(trained) == ["base/0"]
    exper(trained, "rerun", "base")
    assert [run.id for run in trained.tag("base").runs()] == [0, 2]
    assert manager.tags(trained) == ["base"]


def test_after_all_runs_are_gone_no_id_comes_twice(trained: paths.Project) -> None:
    exper(trained, "rm", "base", "--yes")
    exper(trained, "rerun", "base")
    exper(trained, "rm", "base", "--yes")
    exper(trained, "run", "base")
    assert [run.id for run in trained.tag("base").runs()] == [2]


def test_with_tag_nothing_is_left_and_the_name_is_free(trained: paths.Project) -> None:
    exper(trained, "rerun", "base")
    exper(trained, "rm", "base", "--tag", "--yes")
    assert (manager.tags(trained), manager.left(trained), manager.finished(trained)) == ([], [], [])
    write(trained, main="print('newer')")
    exper(trained, "run", "base")
    assert state(trained, "base/0") == "finished"


def test_a_tag_without_runs_goes(project: paths.Project) -> None:
    git(project.root, "tag", "base")
    exper(project, "rm", "base", "--tag", "--yes")
    assert manager.tags(project) == []


def test_a_running_run_is_refused(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base"):
        for words in (["base"], ["base/0"], ["base", "--tag"]):
            assert "worked on" in refused(project, "rm", *words, "--yes")
        assert state(project, "base/0") == "running"


@pytest.mark.parametrize("entry", ["base/0", "base", "base/*", "b?se", "[ab]*/0"])
def test_a_run_that_a_list_names_is_refused(trained: paths.Project, entry: str) -> None:
    trained.list_file("mine").write_text(f"# good ones\nbaser*\n {entry}/  # best\n")
    assert f"the list 'mine' names {entry!r}" in refused(trained, "rm", "base", "--yes")
    assert state(trained, "base/0") == "finished"


def test_without_a_terminal_nothing_goes_unless_yes_is_said(trained: paths.Project) -> None:
    assert "--yes" in refused(trained, "rm", "base", "--tag")
    assert state(trained, "base/0") == "finished"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_on_a_terminal_it_asks(trained: paths.Project, answer: str, code: int) -> None:
    with manager.asked(trained, "rm", "base/0") as terminal:
        terminal.sendline(answer)
    assert terminal.exitstatus == code
    assert len(trained.tag("base").runs()) == (code != 0)


def test_what_has_begun_while_it_asked_stays_and_so_does_its_tag(trained: paths.Project) -> None:
    write(trained, main=manager.WAITS)
    exper(trained, "rm", "base", "--yes")
    with manager.asked(trained, "rm", "base", "--tag") as terminal:
        exper(trained, "rerun", "base")
        terminal.sendline("y")
        terminal.expect("the tag base stays: it has a run by now")
    assert terminal.exitstatus == 1
    assert manager.tags(trained) == ["base"]
    assert len(trained.tag("base").runs()) == 1


def test_one_wrong_name_of_several_removes_nothing(trained: paths.Project) -> None:
    refused(trained, "rm", "base/0", "base/7", "--yes")
    refused(trained, "rm", "base", "base/0", "--tag", "--yes")
    assert state(trained, "base/0") == "finished"


def test_a_run_named_twice_goes_once(trained: paths.Project) -> None:
    exper(trained, "rm", "base/0", "base", "--yes")
    assert trained.tag("base").runs() == []


def test_the_snapshot_goes_with_the_last_run_that_needed_it(project: paths.Project) -> None:
    write(project, main=manager.READY + "sys.exit(int(run.name))")
    exper(project, "run", "base")
    exper(project, "rerun", "base", code=1)
    assert project.tag("base").snapshot.exists()
    exper(project, "rm", "base/1", "--yes")
    assert not project.tag("base").snapshot.exists()
    assert record(project, "base/0")["status"] == "finished"


def test_a_damaged_run_can_be_removed(trained: paths.Project) -> None:
    manager.the_run(trained, "base/0").record.write_text("{")
    exper(trained, "rm", "base/0", "--yes")
    assert trained.tag("base").runs() == []


def test_a_run_whose_tag_is_gone_can_be_removed(trained: paths.Project) -> None:
    git(trained.root, "tag", "--delete", "base")
    exper(trained, "rm", "base", "--yes")
    assert trained.tag("base").runs() == []


def test_an_id_does_not_come_twice_where_a_kill_kept_last_id_from_being_written(trained: paths.Project) -> None:
    trained.tag("base").last_id.unlink()
    exper(trained, "rm", "base/0", "--yes")
    exper(trained, "run", "base")
    assert [run.id for run in trained.tag("base").runs()] == [1]


# -- patterns and searches ---------------------------------------------------------------------------------------------


def searched(project: paths.Project) -> None:
    """Make what a search leaves: its tag and journal, a tag with a run for each trial, the line of its list."""
    for tag in ("wide+lr=0.1", "wide+lr=0.2", "wider"):
        git(project.root, "tag", tag)
        exper(project, "run" if "+" not in tag else "rerun", tag)
    git(project.root, "tag", "wide")
    project.tag("wide").folder.mkdir()
    project.tag("wide").journal.write_text("{}")
    project.tag("wide").journal.with_name("search.journal.lock").touch()
    project.list_file("wide").write_text("wide+*\n")


def test_a_search_goes_after_its_trials_and_leaves_nothing(project: paths.Project) -> None:
    searched(project)
    before = manager.left(project), manager.tags(project)
    said = refused(project, "rm", "wide", "--tag", "--yes")
    assert "the search 'wide' has 2 trials. Remove them first: exper rm 'wide+*' --tag" in said
    assert (manager.left(project), manager.tags(project)) == before
    with untouched(project.root):
        exper(project, "rm", "wide+*", "--tag", "--yes")
        assert manager.tags(project) == ["wide", "wider"]
        assert manager.finished(project) == ["wider/0"]
        exper(project, "rm", "wide", "--tag", "--yes")
    assert (manager.left(project), manager.tags(project)) == (["wider"], ["wider"])
    assert not project.list_file("wide").exists()


def test_a_search_and_its_trials_can_go_together(project: paths.Project) -> None:
    searched(project)
    project.list_file("wide").write_text("# mine\nwide+*\nwider\n")
    exper(project, "rm", "wide", "wide+*", "--tag", "--yes")
    assert manager.left(project) == ["wider"]
    assert project.list_file("wide").read_text() == "# mine\nwider\n"


def test_a_pattern_without_tag_removes_runs_whose_ids_are_given_to_nobody_again(project: paths.Project) -> None:
    searched(project)
    exper(project, "rerun", "wide+lr=0.1")
    exper(project, "rm", "wide+*/1", "--yes")
    assert [str(run) for run in project.runs()] == ["wide+lr=0.1/2", "wider/0"]
    exper(project, "rm", "w*", "--yes")
    assert project.runs() == []
    exper(project, "rerun", "wide+lr=0.2")
    assert [str(run) for run in project.runs()] == ["wide+lr=0.2/2"]


def test_a_pattern_that_fits_nothing_is_refused(project: paths.Project) -> None:
    searched(project)
    assert "no run fits 'deep+*'" in refused(project, "rm", "deep+*", "--yes")
    assert "no run fits 'deep+*'" in refused(project, "rm", "wide+*", "deep+*", "--tag", "--yes")
    assert "name the tag alone" in refused(project, "rm", "wide+*/1", "--tag", "--yes")
    assert len(project.runs()) == 3


def test_a_list_of_the_users_that_names_a_trial_keeps_it(project: paths.Project) -> None:
    searched(project)
    project.list_file("good").write_text("wide+lr=0.2/1\n")
    assert "the list 'good' names 'wide+lr=0.2/1'" in refused(project, "rm", "wide+*", "--tag", "--yes")
    assert len(project.runs()) == 3


def test_of_many_that_go_the_first_are_named_and_all_counted(project: paths.Project) -> None:
    for number in range(12):
        git(project.root, "tag", "--annotate", "--message=x", f"wide+lr={number}")
    said = exper(project, "rm", "wide+*", "--tag", "--yes").stderr.splitlines()
    assert len(said) == 12
    assert said[-2:] == ["rm: and 2 more", "rm: 0 runs (0.0 MB) and 12 tags in all"]
    assert manager.tags(project) == []


def test_a_search_gives_no_id_of_a_removed_seed_again(project: paths.Project) -> None:
    searching.prepare(project, seconds="1.0", search='{"optimizer.lr": [0.1]}')
    under_way = manager.start(project, "search", "wide", "--seeds", "2")
    manager.wait_for(lambda: len(searching.noted(project, "begun")) == 2, 60)
    under_way.send_signal(signal.SIGKILL)
    under_way.communicate()
    manager.wait_for(lambda: not status.is_live(manager.the_run(project, "wide+lr=0.1/1")))
    exper(project, "rm", "wide+lr=0.1/1", "--yes")
    assert "wide+lr=0.1/1 has been removed, and no id is given twice" in refused(project, "search", "wide")
    assert [str(run) for run in project.runs()] == ["wide+lr=0.1/0"]


def test_rm_that_was_killed_in_the_middle_is_finished_by_the_same_command(project: paths.Project) -> None:
    write(project, main=manager.READY + "sys.exit(int(run.name))")
    exper(project, "run", "base")
    exper(project, "rerun", "base", code=1)
    exper(project, "run", "other")
    tag = project.tag("base")
    beside = tag.folder / f".new-{staging.unique_name()}"
    beside.mkdir()
    (tag.folder / "1").rename(beside / "1")  # as `rm base/1 base/0`, killed behind the first rename, leaves it
    tag.removed_ids.write_text("1\n0\n")
    assert "base/1 has been removed already" in exper(project, "rm", "base/1", "base/0", "--yes").stderr
    assert sorted(path.name for path in tag.folder.iterdir()) == ["last_id", "removed_ids"]
    assert manager.finished(project) == ["other/0"]
    assert "base has been removed already" in exper(project, "rm", "base").stderr
    exper(project, "run", "base", code=1)
    assert [run.id for run in tag.runs()] == [2]


@pytest.mark.parametrize("word", ["base", "b*"])
def test_rm_that_was_killed_behind_the_git_tag_is_finished_by_the_same_command(
    trained: paths.Project, word: str
) -> None:
    exper(trained, "rm", "base", "--yes")
    git(trained.root, "tag", "--delete", "base")
    assert "base has been removed already" in exper(trained, "rm", word, "--tag", "--yes").stderr
    assert manager.left(trained) == []
    exper(trained, "run", "base")
    assert [run.id for run in trained.tag("base").runs()] == [0]


def test_a_search_gives_no_id_of_a_removed_run_again(project: paths.Project) -> None:
    searching.prepare(project, seconds="1.0", search='{"optimizer.lr": [0.1]}')
    under_way = manager.start(project, "search", "wide")
    manager.wait_for(lambda: searching.noted(project, "begun"), 60)
    under_way.send_signal(signal.SIGKILL)
    under_way.communicate()
    manager.wait_for(lambda: not status.is_live(manager.the_run(project, "wide+lr=0.1/0")))
    exper(project, "rm", "wide+lr=0.1/0", "--yes")
    assert "has been removed, and no id is given twice" in refused(project, "search", "wide")
    assert project.runs() == []
