"""The commit of a tag: refused before it is tagged if it can't be copied, parsed or trained."""

import shutil

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, git, nothing_left, refused, write


def test_a_folder_is_no_seed_file(project: paths.Project) -> None:
    (project.code / "seed").unlink()
    (project.code / "seed").mkdir()
    (project.code / "seed" / "part.py").touch()
    manager.commit(project)
    with nothing_left(project):
        assert "code/seed" in refused(project, "run", "base", "-f")
    exper(project, "run", "base")


@pytest.mark.parametrize("seed", ["", "-1", "1.5", "9" * 19, "9" * 5000, "x", "٣"])
def test_a_wrong_seed_file_is_refused(project: paths.Project, seed: str) -> None:
    (project.code / "seed").write_text(seed)
    manager.commit(project)
    with nothing_left(project):
        assert "code/seed" in refused(project, "run", "base", "-f")


@pytest.mark.parametrize(
    "config",
    [
        "import os\n",
        "x = f(1)\n",
        "x = y\n",
        "x = 1\nx = 2\n",
        "x = (\n",
        "\0",
        "x = 1/0\n",
        "x = 9**9**9\n",
        "if 1: x=2\n",
    ],
)
def test_a_config_that_is_not_static_is_refused_before_tagging(project: paths.Project, config: str) -> None:
    write(project, config=config)
    with nothing_left(project):
        assert "code/config.py" in refused(project, "run", "base")


def test_nothing_committed_yet_is_refused_with_what_to_type(project: paths.Project) -> None:
    shutil.rmtree(project.root / ".git")
    git(project.root, "init", "--quiet")
    for words in (["base"], ["base", "-m", "why"]):
        assert "git commit" in refused(project, "run", *words)


def test_a_commit_without_main_is_refused(project: paths.Project) -> None:
    (project.code / "main.py").unlink()
    manager.commit(project)
    with nothing_left(project):
        assert "code/main.py" in refused(project, "run", "base")


def test_a_tagged_format_of_the_future_is_refused(project: paths.Project) -> None:
    (project.code / "exper" / "FORMAT").write_text("99\n")
    manager.commit(project)
    git(project.root, "tag", "future")
    git(project.root, "checkout", "--quiet", "HEAD~", "--", "code/exper/FORMAT")
    manager.commit(project)
    error = refused(project, "rerun", "future")
    assert "format 99" in error
