"""The first run of a tag: which tags it takes, and what happens when several start at once."""

import os
from pathlib import Path

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, git, log, nothing_left, record, refused, state, tags, untouched, write


def test_a_tag_with_runs_is_refused(project: paths.Project) -> None:
    exper(project, "run", "base")
    with nothing_left(project):
        error = refused(project, "run", "base")
    assert "rerun base" in error
    assert "continue base" in error


def test_a_tag_without_a_run_runs_with_the_seed_in_its_message(project: paths.Project) -> None:
    exper(project, "run", "base")
    seed = record(project, "base/0")["seed"]
    exper(project, "rm", "base", "--yes")
    before = git(project.root, "rev-parse", "base")
    exper(project, "run", "base")
    (run,) = project.tag("base").runs()
    assert record(project, str(run))["seed"] == seed
    assert git(project.root, "rev-parse", "base") == before


def test_a_tag_without_a_run_takes_the_same_tree_after_m_and_settings(project: paths.Project) -> None:
    (project.code / "main.py").write_text("print('changed')\n")
    exper(project, "run", "base", "-m", "why", "epochs=9")
    exper(project, "rm", "base", "--yes")
    with nothing_left(project):
        assert "holds other code" in refused(project, "run", "base", "-m", "why", "epochs=8")
        assert "nope" in refused(project, "run", "other", "-m", "why", "epochs=8", "nope=1")
    exper(project, "run", "base", "-m", "why", "epochs=9")


def test_a_tag_of_another_tree_is_refused_and_not_moved(project: paths.Project) -> None:
    git(project.root, "tag", "base")
    write(project, main="print('newer')")
    with nothing_left(project):
        error = refused(project, "run", "base")
    assert "exper rm base --tag" in error


def test_a_handmade_tag_without_trailers_runs_with_a_fresh_seed(project: paths.Project) -> None:
    git(project.root, "tag", "by-hand")
    exper(project, "run", "by-hand")
    assert state(project, "by-hand/0") == "finished"


def test_a_seed_of_f_that_is_not_the_tags_is_refused(project: paths.Project) -> None:
    exper(project, "run", "base")
    exper(project, "rm", "base", "--yes")
    with nothing_left(project):
        assert "exper rm base --tag" in refused(project, "run", "base", "-f")


def test_a_tag_of_something_that_is_no_commit_is_refused(project: paths.Project) -> None:
    git(project.root, "tag", "blob", "HEAD:code/main.py")
    with nothing_left(project):
        refused(project, "run", "blob")


def test_a_tag_from_before_the_project_was_there_is_refused(tmp_path: Path, project: paths.Project) -> None:
    """The tag's commit does not have the project's folder at all."""
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "--quiet")
    (top / "README").write_text("first\n")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=first")
    git(top, "tag", "old")
    below = paths.Project(top / "sub")
    (project.root / ".git").rename(tmp_path / "gone")
    project.root.rename(below.root)
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=second")
    with nothing_left(below):
        assert "exper rm old --tag" in refused(below, "run", "old")


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/b", "-x", "a b", "a..b", "a.lock", "a.", "é", "x" * 201, "\x1b[31mred", "a\nb", "HEAD",
     "README.md", "untagged", "12", "lr=0.1", "a+b", "main", "origin", "a~1", "a^", "a:b", "@", "*", "$(id)", "\udcff"],
)  # fmt: skip
def test_a_name_that_is_no_tag_is_refused(project: paths.Project, name: str) -> None:
    git(project.root, "remote", "add", "origin", "/nowhere")
    with nothing_left(project):
        error = refused(project, "run", "--", os.fsencode(name))  # type: ignore[arg-type]
    assert "\x1b" not in error


@pytest.mark.parametrize("name", ["x" * 200, "v1.0-rc_2", "1e5", "A"])
def test_a_name_that_is_a_tag_works(project: paths.Project, name: str) -> None:
    exper(project, "run", name)
    assert state(project, f"{name}/0") == "finished"


def test_a_tag_that_is_a_folder_of_tags_is_refused_for_that_reason(project: paths.Project) -> None:
    git(project.root, "tag", "group/one")
    with nothing_left(project):
        assert "just now" not in refused(project, "run", "group")


@pytest.mark.parametrize("has_tag", [False, True])
@pytest.mark.parametrize("pace", ["", "sleep 0.05; "], ids=["free", "in step"])
def test_of_three_runs_of_one_tag_two_are_refused(
    project: paths.Project, tmp_path: Path, pace: str, has_tag: bool
) -> None:
    """In step, each looks before any has acted."""
    write(project, main="import time; time.sleep(0.5)")
    if has_tag:
        git(project.root, "tag", "base")
    env = os.environ | {"PATH": manager.git_that(tmp_path / "bin", f'{pace}exec "$@"')}
    all_ = [manager.start(project, "run", "base", env=env) for _ in range(3)]
    said = [one.communicate(timeout=30)[0] for one in all_]
    assert sorted(one.returncode for one in all_) == [0, 2, 2], said
    assert [run.id for run in project.tag("base").runs()] == [0]
    assert manager.finished(project) == ["base/0"]
    assert manager.left(project) == ["base"]


def test_who_is_refused_does_not_take_the_tag_from_who_uses_it(project: paths.Project, tmp_path: Path) -> None:
    """One makes the tag, is slow, and is interrupted; meanwhile another takes the tag for its run."""
    slow = manager.git_that(tmp_path / "bin", '"$@"; code=$?; case "$*" in *update-ref*) sleep 1;; esac; exit $code')
    first = manager.start(project, "run", "base", env=os.environ | {"PATH": slow})
    manager.wait_for(lambda: tags(project) == ["base"])
    first.terminate()
    exper(project, "run", "base")
    first.communicate(timeout=30)
    assert (first.returncode, tags(project), state(project, "base/0")) == (143, ["base"], "finished")


def test_ten_runs_of_different_tags_at_once_all_finish(project: paths.Project) -> None:
    names = [f"t{number}" for number in range(10)]
    (project.code / "main.py").write_text("print('changed')\n")
    with untouched(project.root):
        all_ = [manager.start(project, "run", name, "-m", "why") for name in names]
        said = [one.communicate(timeout=60)[0] for one in all_]
    assert [one.returncode for one in all_] == [0] * 10, said
    assert sorted(manager.finished(project)) == [f"{name}/0" for name in names]
    assert tags(project) == names
    assert {tuple(log(project, f"{name}/0")) for name in names} == {("changed",)}
