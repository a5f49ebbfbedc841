"""`exper new`: what a new project holds, that it works at once, and where none is made."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from exper.core import paths
from tests.conftest import CODE
from tests.support import manager
from tests.support.manager import exper, git, refused

LEFT_OUT = ("code/tests", "code/benchmarks", "code/docs", ".ci", "pyproject.toml")


def tracked(root: Path) -> set[str]:
    return set(git(root, "ls-files").splitlines())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone of this repository with what is in the working tree committed."""
    root = tmp_path_factory.mktemp("template") / "exper"
    names = git(CODE.parent, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in names:
        if (CODE.parent / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CODE.parent / name, root / name, follow_symlinks=False)
    git(root, "init", "--quiet")
    git(root, "add", "--all", "--force")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=all")
    return root


def everything(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if "__pycache__" not in path.parts)


def commands_in(root: Path, shell: str, text: str) -> "subprocess.CompletedProcess[str]":
    options = ["--norc"] if shell == "bash" else ["-f"]
    return subprocess.run([shell, *options, "-c", text], cwd=root, capture_output=True, text=True, timeout=200)


# -- what it makes -----------------------------------------------------------------------------------------------------


def test_a_project_has_the_code_that_is_committed_and_nothing_of_ours(template: Path, tmp_path: Path) -> None:
    project = paths.Project(template)
    (template / "code" / "notes.txt").write_text("mine")
    before = manager.of_the_user(template)
    try:
        said = exper(project, "new", str(tmp_path / "faces"))
    finally:
        (template / "code" / "notes.txt").unlink()
    assert "not copied, because not committed: 1 change" in said.stderr
    assert said.stdout.splitlines()[1].endswith("faces && . code/source.sh && run demo")
    before.pop(str(template / "code" / "notes.txt"))
    made = tmp_path / "faces"
    expected = {name for name in tracked(template) if name.startswith("code/") and not name.startswith(LEFT_OUT)}
    expected |= {".gitignore", "README.md", "code/exper/LICENSE"}
    expected |= {f"__{name}__/README.md" for name in ("data", "result", "statistic")}
    assert tracked(made) == expected
    assert git(made, "status", "--porcelain", "--ignored") == ""
    for name in expected - {"README.md", "code/exper/LICENSE"}:
        ours = template / name
        theirs = made / name
        assert theirs.read_bytes() == ours.read_bytes()
        assert os.access(theirs, os.X_OK) == os.access(ours, os.X_OK)
        assert os.access(theirs, os.W_OK)
    assert (made / "README.md").read_text().startswith("# faces\n")
    assert git(made, "log", "--format=%an %s").splitlines() == ["A U Thor faces, made by exper new"]
    assert git(made, "tag") == ""
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_it_works_at_once_in_bash_and_a_project_that_it_makes_does_so_in_zsh(template: Path, tmp_path: Path) -> None:
    first = tmp_path / "it's <b>$HOME & 日本"
    shells = {"bash": template, "zsh": first}
    for number, (shell, root) in enumerate(shells.items()):
        if not shutil.which(shell):
            pytest.skip(f"{shell} IS NOT INSTALLED: what a new project does there is not tested")
        target = first if number == 0 else tmp_path / "second"
        made = commands_in(root, shell, f'. code/source.sh && exper new "{str(target).replace("$", chr(92) + "$")}"')
        assert made.returncode == 0, made.stderr
        ran = commands_in(target, shell, ". code/source.sh && run demo epochs=1 threads=1 'logger=[]' && expls")
        assert ran.returncode == 0, ran.stderr
        assert "demo  1 finished" in ran.stdout
        assert git(target, "status", "--porcelain") == ""
    same = subprocess.run(["diff", "-r", "--exclude=__pycache__", first / "code", tmp_path / "second" / "code"])
    assert same.returncode == 0


def test_the_example_of_segmentation_has_its_config_and_its_data(template: Path, tmp_path: Path) -> None:
    made = paths.Project(tmp_path / "shapes")
    exper(paths.Project(template), "new", str(made.root), "--example", "segmentation", timeout=120)
    assert (made.code / "config.py").read_bytes() == (made.code / "examples/shapes/config.py").read_bytes()
    assert git(made.root, "status", "--porcelain") == ""
    exper(made, "run", "demo", "debug=True", "threads=1", "logger=[]", timeout=120)
    assert manager.finished(made) == ["demo/0"]
    exper(made, "new", str(tmp_path / "digits"), "--example", "classification")
    assert (tmp_path / "digits" / "code" / "config.py").read_bytes() == (CODE / "config.py").read_bytes()


def test_the_config_of_this_project_is_that_of_the_example_of_classification() -> None:
    assert (CODE / "examples" / "digits" / "config.py").read_bytes() == (CODE / "config.py").read_bytes()


def test_what_is_not_committed_stays_and_what_a_project_of_ones_own_has_goes_along(
    project: paths.Project, tmp_path: Path
) -> None:
    (project.code / "model").mkdir()
    (project.code / "model" / "mine.py").write_text("mine = 1\n")
    (project.code / "model" / "link.py").symlink_to("mine.py")
    (project.root / "LICENSE").write_text("ours\n")
    manager.commit(project)
    (project.code / "model" / "mine.py").write_text("mine = 2\n")
    with manager.untouched(project.root):
        said = exper(project, "new", str(tmp_path / "new")).stderr
    assert "1 change" in said
    made = tmp_path / "new"
    assert (made / "code" / "model" / "link.py").read_text() == "mine = 1\n"
    assert (made / "code" / "model" / "link.py").is_symlink()
    assert not (made / "LICENSE").exists()
    assert (made / "code" / "exper" / "LICENSE").read_text() == "ours\n"
    exper(paths.Project(made), "run", "demo")
    assert manager.finished(paths.Project(made)) == ["demo/0"]


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o002, 0o664, 0o775), (0o077, 0o600, 0o700)])
def test_its_files_have_the_rights_that_the_umask_leaves(
    project: paths.Project, tmp_path: Path, mask: int, file: int, folder: int
) -> None:
    before = os.umask(mask)
    try:
        exper(project, "new", str(tmp_path / "new"))
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "new" / "code", tmp_path / "new" / "code" / "main.py")]
    assert modes == [folder, file]


def test_it_needs_no_identity_and_heeds_no_setting_that_gets_in_the_way(
    project: paths.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ignore").write_text("*\n")
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "hooks" / "pre-commit").chmod(0o755)
    (tmp_path / "home" / ".gitconfig").write_text(
        f"[core]\nexcludesFile = {tmp_path}/ignore\nhooksPath = {tmp_path}/hooks\n"
        "[commit]\ngpgSign = true\n[gpg]\nprogram = false\n[user]\nuseConfigOnly = true\n"
    )
    monkeypatch.setenv("USER", "someone")
    exper(project, "new", str(tmp_path / "new"))
    assert git(tmp_path / "new", "log", "--format=%an %cn") == "someone someone\n"
    assert tracked(tmp_path / "new") == tracked(project.root) | {"README.md"}


# -- where -------------------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_filled_where_it_is(project: paths.Project, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    about = folder.stat().st_ino
    exper(project, "new", str(tmp_path / "link") + "/")
    assert folder.stat().st_ino == about
    assert (folder / "README.md").read_text().startswith("# empty\n")
    here = tmp_path / "here"
    here.mkdir()
    exper(project, "new", ".", cwd=here)
    assert (here / ".git").is_dir()
    assert sorted(os.listdir(here)) == sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("full", "full is not empty. Name a folder that does not exist yet."),
        ("file", "file is a file."),
        ("nowhere/new", "there is no folder "),
        ("file/new", "there is no folder "),
        ("", "can't be the name of a folder"),
        ("two\nlines", "can't be the name of a folder"),
        ("x" * 201, "200 bytes at most"),
        ("it's a próject/new", "where git would take it for a submodule. Type: exper new new"),
        ("it's a próject/__result__", "where git would take it for a submodule"),
        ("theirs/deep/new", "where git would take it for a submodule"),
        ("--force", "arguments are required: folder"),
    ],
)
def test_elsewhere_none_is_made(project: paths.Project, tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".hidden").touch()
    (tmp_path / "file").touch()
    (tmp_path / "theirs" / "deep").mkdir(parents=True)
    git(tmp_path / "theirs", "init", "--quiet")
    before = everything(tmp_path)
    assert says in refused(project, "new", name, cwd=tmp_path)
    assert everything(tmp_path) == before


def test_a_repository_that_ignores_it_does_not_mind(project: paths.Project, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    git(theirs, "init", "--quiet")
    (theirs / ".gitignore").write_text("new/\n")
    exper(project, "new", str(theirs / "new"))
    assert git(theirs, "status", "--porcelain") == "?? .gitignore\n"


def test_a_project_without_a_commit_or_that_example_makes_none(project: paths.Project, tmp_path: Path) -> None:
    assert "has no code/examples/digits/config.py" in refused(
        project, "new", str(tmp_path / "new"), "--example", "classification"
    )
    assert "invalid choice: 'detection'" in refused(project, "new", str(tmp_path / "new"), "--example", "detection")
    shutil.rmtree(project.root / ".git")
    assert "is in no git repository" in refused(project, "new", str(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", project.root.name]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_written_it_says_so(project: paths.Project, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    assert "can't be made: Permission denied" in refused(project, "new", str(tmp_path / "locked" / "new"))


def test_a_kill_leaves_nothing_under_the_name(project: paths.Project, tmp_path: Path) -> None:
    path = manager.git_that(tmp_path / "bin", '[ "$count" = 4 ] && kill -9 $PPID; exec "$@"')
    done = subprocess.run(
        manager.command(project, "new", str(tmp_path / "new")), env=os.environ | {"PATH": path}, cwd=project.root
    )
    assert done.returncode < 0
    assert not (tmp_path / "new").exists()
    exper(project, "new", str(tmp_path / "new"))
