"""`rerun`: a new id from the same commit, with the recorded seed or a fresh one."""

from pathlib import Path

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, git, log, record, refused, state, write


def test_without_f_the_seed_is_fresh_and_the_commit_the_same(trained: paths.Project) -> None:
    exper(trained, "rerun", "base")
    first = record(trained, "base/0")
    second = record(trained, "base/1")
    assert first["seed"] != second["seed"]
    assert (first["commit"], first["tree"]) == (second["commit"], second["tree"])
    assert manager.finished(trained) == ["base/0", "base/1"]


@pytest.mark.parametrize(("name", "of"), [("base", 0), ("base/1", 1)])
def test_f_takes_the_seed_of_the_run_named_or_of_the_tag(trained: paths.Project, name: str, of: int) -> None:
    exper(trained, "rerun", "base")
    exper(trained, "re", name, "-f")
    assert record(trained, "base/2")["seed"] == record(trained, f"base/{of}")["seed"]


def test_f_takes_the_recorded_threads(project: paths.Project) -> None:
    write(project, config="threads = 3\n", main="import os; print(os.environ['OMP_NUM_THREADS'])")
    exper(project, "run", "base")
    manager.edit_record(project, "base/0", threads=5)
    exper(project, "rerun", "base/0", "-f")
    exper(project, "rerun", "base/0")
    assert [log(project, f"base/{number}") for number in range(3)] == [["3"], ["5"], ["3"]]


def test_it_trains_the_tags_code_and_not_the_working_trees(trained: paths.Project) -> None:
    write(trained, main="print('newer')")
    exper(trained, "rerun", "base")
    assert log(trained, "base/1") == ["hello"]


def test_on_a_clone_that_has_only_the_tag_it_repeats_run_0_as_run_1(project: paths.Project, tmp_path: Path) -> None:
    write(project, main="import os; print(os.environ['EXPER_SEED'])")
    exper(project, "run", "base", "epochs=9")
    clone = paths.Project(tmp_path / "clone")
    git(tmp_path, "clone", "--quiet", str(project.root), str(clone.root))
    exper(clone, "rerun", "base", "-f")
    assert log(clone, "base/1") == log(project, "base/0")
    assert [run.id for run in clone.tag("base").runs()] == [1]
    assert record(clone, "base/1")["tree"] == record(project, "base/0")["tree"]


def test_a_tag_without_a_seed_is_refused_with_f(project: paths.Project) -> None:
    git(project.root, "tag", "by-hand")
    with manager.nothing_left(project):
        assert "records no seed" in refused(project, "rerun", "by-hand", "-f")
    exper(project, "rerun", "by-hand")
    assert state(project, "by-hand/1") == "finished"


@pytest.mark.parametrize("seed", ["9223372036854775808", "-1", "x", "1" * 5000, ""])
def test_a_seed_that_is_none_is_refused_with_f(project: paths.Project, seed: str) -> None:
    git(project.root, "tag", "--annotate", "--message", f"why\n\nExper-Seed: {seed}", "by-hand")
    with manager.nothing_left(project):
        refused(project, "rerun", "by-hand", "-f")


def test_trailers_count_only_in_the_last_paragraph(project: paths.Project) -> None:
    git(project.root, "tag", "--annotate", "--message", "why\n\nExper-Seed: 5\n\nmore", "by-hand")
    assert "records no seed" in refused(project, "rerun", "by-hand", "-f")


def test_a_damaged_run_0_does_not_keep_the_tag_from_another(trained: paths.Project) -> None:
    manager.the_run(trained, "base/0").record.write_text("{")
    exper(trained, "rerun", "base")
    assert state(trained, "base/1") == "finished"


def test_a_moved_tag_is_refused(project: paths.Project) -> None:
    exper(project, "run", "base")
    write(project, main="print('newer')")
    git(project.root, "tag", "--force", "base")
    assert "git tag -f base" in refused(project, "rerun", "base/0")


def test_a_deleted_tag_is_refused(project: paths.Project) -> None:
    exper(project, "run", "base")
    git(project.root, "tag", "--delete", "base")
    for name in ("base", "base/0"):
        error = refused(project, "rerun", name)
        assert f"git tag base {record(project, 'base/0')['commit']}" in error
    manager.the_run(project, "base/0").record.unlink()
    assert refused(project, "rerun", "base") == "rerun: there is no tag 'base'.\n"


def test_a_mistyped_tag_gets_the_nearest(project: paths.Project) -> None:
    git(project.root, "tag", "baseline")
    assert "Did you mean 'baseline'?" in refused(project, "rerun", "basline")


def test_a_refusal_of_main_takes_the_id_away_and_keeps_the_tag(project: paths.Project) -> None:
    write(
        project, main=manager.READY + "(run / 'refused').write_text('no GPU') if run.name == '1' else exit(0)\nexit(2)"
    )
    exper(project, "run", "base")
    assert refused(project, "rerun", "base").splitlines()[-1] == "rerun: no GPU"
    assert [run.id for run in project.tag("base").runs()] == [0]
    assert manager.tags(project) == ["base"]
    exper(project, "rerun", "base")
    assert [run.id for run in project.tag("base").runs()] == [0, 2]


def test_ten_at_once_get_ten_ids(trained: paths.Project) -> None:
    all_ = [manager.start(trained, "rerun", "base") for _ in range(10)]
    said = [one.communicate(timeout=60)[0] for one in all_]
    assert [one.returncode for one in all_] == [0] * 10, said
    assert [run.id for run in trained.tag("base").runs()] == list(range(11))
    assert sorted(manager.finished(trained)) == sorted(f"base/{number}" for number in range(11))
    assert not trained.tag("base").snapshot.exists()


def test_an_untagged_run_is_refused(project: paths.Project) -> None:
    assert "untagged" in refused(project, "rerun", "untagged/0")


def test_exact_refuses_other_versions(trained: paths.Project) -> None:
    versions = record(trained, "base/0")["versions"]
    manager.edit_record(trained, "base/0", versions=versions | {"pytest": "1.0"})
    with manager.nothing_left(trained):
        assert "pytest 1.0 -> " in refused(trained, "rerun", "base", "-f", "--exact")
    assert "pytest 1.0 -> " in exper(trained, "rerun", "base/0", "-f").stderr
    assert any("pytest 1.0 -> " in line for line in log(trained, "base/1"))
