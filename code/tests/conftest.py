"""Fixtures of all tests: an isolated environment, and a small project in a real repository."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exper.core import paths

CODE = Path(__file__).parent.parent
_INHERITED = ("GIT_", "EXPER_", "PYTHON", "OMP_", "BASH_", "CONDA_", "XDG_")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path / "home")


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Give tests a home of their own, an author, and the Python that runs them as the active environment."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # nohup, and & in a script, make us ignore them
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # children do not inherit a handler
    for name in os.environ:
        if name.startswith(_INHERITED):
            monkeypatch.delenv(name)
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = A U Thor\nemail = author@example.com\n[init]\ntemplateDir =\n")
    variables = {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "VIRTUAL_ENV": sys.prefix,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
        "CI": "true",  # no background TensorBoard, except in its own tests
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of the project that tests get a copy of."""
    folder = tmp_path_factory.mktemp("template")
    root = folder / "project"
    (root / "code").mkdir(parents=True)
    shutil.copytree(CODE / "exper", root / "code" / "exper", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(CODE / "source.sh", root / "code")
    shutil.copy2(CODE.parent / ".gitignore", root)
    (root / "code" / "requirements.txt").write_text("pytest\n")
    (root / "code" / "seed").write_text("42\n")
    (root / "code" / "main.py").write_text("print('hello')\n")
    (root / "code" / "config.py").write_text(
        "epochs = 3\noptimizer = {'name': 'sgd', 'lr': 0.1}  # too high for ResNets\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        _git(root, "init", "--quiet", "--initial-branch=main")
        _git(root, "add", "--all")
        _git(root, "commit", "--quiet", "--message=first")
        _git(root, "repack", "-a", "-d", "-q")  # one file is copied faster than 150
    return root


@pytest.fixture
def project(tmp_path: Path, _template: Path) -> paths.Project:
    """Return a project with one commit: the real source.sh and manager, a main.py that prints, a small config.py."""
    return copy_project(paths.Project(_template), tmp_path / "it's a próject")


@pytest.fixture(scope="session")
def _trained(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> paths.Project:
    folder = tmp_path_factory.mktemp("trained")
    project = copy_project(paths.Project(_template), folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        words = [sys.executable, "-I", str(project.code / "exper"), "run", "base"]
        subprocess.run(words, cwd=project.root, check=True, capture_output=True, start_new_session=True)
    return project


@pytest.fixture
def trained(_trained: paths.Project, tmp_path: Path) -> paths.Project:
    """Return the project of `project` with a finished run, base/0."""
    return copy_project(_trained, tmp_path / "it's a próject")


@pytest.fixture(scope="module")
def module_project(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[paths.Project]:
    """Yield a project to make runs in once a module; tests get copies of it."""
    folder = tmp_path_factory.mktemp("module")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        yield copy_project(paths.Project(_template), folder / "project")


def copy_project(project: paths.Project, root: Path) -> paths.Project:
    """Return a copy of a project, with its repository and its runs."""
    shutil.copytree(project.root, root, symlinks=True)
    return paths.Project(root)


@pytest.fixture
def git(project: paths.Project) -> Callable[..., str]:
    """Return a function that runs git in the project and returns what git prints."""
    return lambda *words: _git(project.root, *words)


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
