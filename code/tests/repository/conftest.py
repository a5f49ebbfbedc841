"""A project in a subfolder of a repository."""

from pathlib import Path

import pytest

from exper.core import paths
from tests.support.manager import git


@pytest.fixture
def below(project: paths.Project, tmp_path: Path) -> paths.Project:
    """Return the project as a folder of a larger repository."""
    top = tmp_path / "tóp"
    top.mkdir()
    (project.root / ".git").rename(tmp_path / "gone")
    project.root.rename(top / "süb folder")
    (top / "outside.txt").write_text("1\n")
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=first")
    return paths.Project(top / "süb folder")
