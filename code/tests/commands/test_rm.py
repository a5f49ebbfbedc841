"""`exper rm`: what goes, what stays, and what is refused."""

import pexpect
import pytest

from exper import paths
from tests import manager
from tests.manager import exper, git, record, refused, state, untouched, write


def test_a_run_goes_and_its_id_is_given_to_nobody_again(project: paths.Project) -> None:
    exper(project, "run", "base")
    exper(project, "rerun", "base")
    with untouched(project.root):
        exper(project, "rm", "base/1", "--yes")
    assert manager.finished(project) == ["base/0"]
    exper(project, "rerun", "base")
    assert [run.id for run in project.tag("base").runs()] == [0, 2]
    assert manager.tags(project) == ["base"]


def test_after_all_runs_are_gone_no_id_comes_twice(project: paths.Project) -> None:
    exper(project, "run", "base")
    exper(project, "rm", "base", "--yes")
    exper(project, "rerun", "base")
    exper(project, "rm", "base", "--yes")
    exper(project, "run", "base")
    assert [run.id for run in project.tag("base").runs()] == [2]


def test_with_tag_nothing_is_left_and_the_name_is_free(project: paths.Project) -> None:
    exper(project, "run", "base")
    exper(project, "rerun", "base")
    exper(project, "rm", "base", "--tag", "--yes")
    assert (manager.tags(project), manager.left(project), manager.finished(project)) == ([], [], [])
    write(project, main="print('newer')")
    exper(project, "run", "base")
    assert state(project, "base/0") == "finished"


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


def test_a_run_that_a_list_names_is_refused(project: paths.Project) -> None:
    exper(project, "run", "base")
    project.list_file("mine").write_text("# good ones\n base/0  # best\n")
    assert "'mine'" in refused(project, "rm", "base", "--yes")
    assert state(project, "base/0") == "finished"


def test_without_a_terminal_nothing_goes_unless_yes_is_said(project: paths.Project) -> None:
    exper(project, "run", "base")
    assert "--yes" in refused(project, "rm", "base", "--tag")
    assert state(project, "base/0") == "finished"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_on_a_terminal_it_asks(project: paths.Project, answer: str, code: int) -> None:
    exper(project, "run", "base")
    program, *words = manager.command(project, "rm", "base/0")
    with pexpect.spawn(program, words, timeout=20) as terminal:
        terminal.expect("Remove")
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == code
    assert len(project.tag("base").runs()) == (code != 0)


def test_one_wrong_name_of_several_removes_nothing(project: paths.Project) -> None:
    exper(project, "run", "base")
    refused(project, "rm", "base/0", "base/7", "--yes")
    refused(project, "rm", "base", "base/0", "--tag", "--yes")
    assert state(project, "base/0") == "finished"


def test_a_run_named_twice_goes_once(project: paths.Project) -> None:
    exper(project, "run", "base")
    exper(project, "rm", "base/0", "base", "--yes")
    assert project.tag("base").runs() == []


def test_the_snapshot_goes_with_the_last_run_that_needed_it(project: paths.Project) -> None:
    write(project, main=manager.READY + "sys.exit(int(run.name))")
    exper(project, "run", "base")
    exper(project, "rerun", "base", code=1)
    assert project.tag("base").snapshot.exists()
    exper(project, "rm", "base/1", "--yes")
    assert not project.tag("base").snapshot.exists()
    assert record(project, "base/0")["status"] == "finished"


def test_a_damaged_run_can_be_removed(project: paths.Project) -> None:
    exper(project, "run", "base")
    manager.the_run(project, "base/0").record.write_text("{")
    exper(project, "rm", "base/0", "--yes")
    assert project.tag("base").runs() == []


def test_a_run_whose_tag_is_gone_can_be_removed(project: paths.Project) -> None:
    exper(project, "run", "base")
    git(project.root, "tag", "--delete", "base")
    exper(project, "rm", "base", "--yes")
    assert project.tag("base").runs() == []


def test_an_id_does_not_come_twice_where_a_kill_kept_last_id_from_being_written(project: paths.Project) -> None:
    exper(project, "run", "base")
    project.tag("base").last_id.unlink()
    exper(project, "rm", "base/0", "--yes")
    exper(project, "run", "base")
    assert [run.id for run in project.tag("base").runs()] == [1]
