"""The snapshot: byte for byte as committed, made anew when it is not, and gone when nothing needs it."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import commit, exper, git, log, refused, state, write

FAILS = "import sys; sys.exit(1)"


def _kept(project: paths.Project) -> Path:
    """Run, and return the snapshot that a failed run keeps."""
    write(project, main=FAILS)
    exper(project, "run", "base", code=1)
    return project.tag("base").snapshot


@pytest.mark.parametrize(
    ("attributes", "config"),
    [("*.txt export-ignore\n", {}), ("*.txt export-subst\n", {}), ("*.txt text eol=crlf\n", {}), ("*.txt ident\n", {}),
     ("", {"core.autocrlf": "true"}), ("", {"core.eol": "crlf"}),
     ("*.txt filter=shout\n", {"filter.shout.smudge": "tr a-z A-Z", "filter.shout.clean": "tr A-Z a-z"}),
     ("*.txt filter=no\n", {"filter.no.smudge": "false", "filter.no.clean": "cat", "filter.no.required": "true"})],
    ids=["export-ignore", "export-subst", "eol", "ident", "autocrlf", "core.eol", "filter", "required"],
)  # fmt: skip
def test_it_is_byte_for_byte_the_blob(project: paths.Project, attributes: str, config: dict[str, str]) -> None:
    (project.code / "a.txt").write_bytes(b"$Id$ $Format:%H$\none\ntwo\n")
    commit(project)
    (project.root / ".gitattributes").write_text(attributes)
    for name, value in config.items():
        git(project.root, "config", name, value)
    git(project.root, "add", ".gitattributes")
    git(project.root, "commit", "--quiet", "--message=attributes")
    snapshot = _kept(project)
    blob = subprocess.check_output(["git", "cat-file", "blob", "base:code/a.txt"], cwd=project.root)
    assert (snapshot / "code" / "a.txt").read_bytes() == blob
    exper(project, "continue", "base", code=1)  # and is recognised as such
    assert (snapshot / "code" / "a.txt").read_bytes() == blob


def test_files_are_read_only_and_single_and_folders_writable(project: paths.Project) -> None:
    (project.code / "script").write_text("#!/bin/sh\n")
    (project.code / "script").chmod(0o755)
    snapshot = _kept(project)
    for path in [snapshot, *snapshot.rglob("*")]:
        about = path.lstat()
        if stat.S_ISREG(about.st_mode):
            assert stat.S_IMODE(about.st_mode) == (0o555 if path.name == "script" else 0o444)
            assert about.st_nlink == 1
        elif stat.S_ISDIR(about.st_mode):
            assert about.st_mode & 0o200


def test_links_are_links_and_data_leads_to_the_real_one(project: paths.Project) -> None:
    project.data.mkdir()
    (project.data / "file").write_text("data")
    (project.code / "link").symlink_to("main.py")
    (project.code / "away").symlink_to("/etc/hostname")
    (project.code / "data").symlink_to("../__data__")
    snapshot = _kept(project)
    assert os.readlink(snapshot / "code" / "link") == "main.py"
    assert os.readlink(snapshot / "code" / "away") == "/etc/hostname"
    assert (snapshot / "__data__" / "file").read_text() == "data"
    assert (snapshot / "code" / "data" / "file").read_text() == "data"
    assert (project.data / "file").read_text() == "data"


def test_data_may_be_a_link_to_another_disk(project: paths.Project, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file").write_text("far")
    project.data.symlink_to(tmp_path / "disk")
    write(project, main="print(open('__data__/file').read())")
    exper(project, "run", "base")
    assert log(project, "base/0") == ["far"]


def _change(snapshot: Path) -> None:
    (snapshot / "code" / "main.py").chmod(0o644)
    (snapshot / "code" / "main.py").write_text("print('tampered')")


def _change_mode(snapshot: Path) -> None:
    (snapshot / "code" / "main.py").chmod(0o755)


def _add(snapshot: Path) -> None:
    (snapshot / "code" / "random.py").write_text("print('tampered')")


def _remove(snapshot: Path) -> None:
    (snapshot / "code" / "config.py").unlink()


def _link(snapshot: Path) -> None:
    content = (snapshot / "code" / "main.py").read_bytes()
    (snapshot / "real").write_bytes(content)
    (snapshot / "code" / "main.py").unlink()
    (snapshot / "code" / "main.py").symlink_to(snapshot / "real")


def _redirect(snapshot: Path) -> None:
    (snapshot / "__data__").unlink()
    (snapshot / "__data__").symlink_to("/tmp")


def _delete(snapshot: Path) -> None:
    shutil.rmtree(snapshot)


@pytest.mark.parametrize("tamper", [_change, _change_mode, _add, _remove, _link, _redirect, _delete])
def test_one_that_was_tampered_with_is_made_anew(project: paths.Project, tamper: object) -> None:
    write(project, main="import random, sys; print('as tagged'); sys.exit(1)")
    exper(project, "run", "base", code=1)
    snapshot = project.tag("base").snapshot
    tamper(snapshot)  # type: ignore[operator]
    exper(project, "continue", "base", code=1)
    assert log(project, "base/0") == ["as tagged"] * 2
    assert (snapshot / "code" / "main.py").read_bytes() == (project.code / "main.py").read_bytes()
    assert not (snapshot / "code" / "random.py").exists()
    assert os.readlink(snapshot / "__data__") == str(project.data)


def test_one_that_a_live_run_uses_is_not_replaced(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base"):
        _change(project.tag("base").snapshot)
        with manager.nothing_left(project):
            assert "trains from it" in refused(project, "rerun", "base")
        assert state(project, "base/0") == "running"


def test_it_goes_when_the_last_run_has_finished_and_stays_while_one_has_not(project: paths.Project) -> None:
    main = manager.READY + "sys.exit(0 if run.name == '1' or (run / 'x').exists() else (run / 'x').touch() or 1)"
    write(project, main=main)
    exper(project, "run", "base", code=1)
    assert project.tag("base").snapshot.is_dir()
    exper(project, "rerun", "base")
    assert project.tag("base").snapshot.is_dir()
    exper(project, "continue", "base/0")
    assert not project.tag("base").snapshot.exists()
    assert manager.left(project) == ["base"]


def test_it_stays_while_another_run_of_the_tag_trains(project: paths.Project) -> None:
    waits = "ready()\nif run.name == '0': seconds_until('go')\nimport config\nprint('ok')\n"
    write(project, main=manager.READY + waits)
    with manager.training(project, "run", "base") as (supervisor, _):
        exper(project, "rerun", "base")
        assert project.tag("base").snapshot.is_dir()
        (manager.the_run(project, "base/0").folder / "go").touch()
        assert supervisor.wait(20) == 0
    assert log(project, "base/0") == ["ok"]
    assert not project.tag("base").snapshot.exists()


def test_result_may_be_a_link_to_another_disk(project: paths.Project, tmp_path: Path) -> None:
    """/dev/shm is another disk wherever there is one."""
    import tempfile

    other = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else tmp_path)
    try:
        project.result.symlink_to(other)
        write(project, main="import sys; print('hello'); sys.exit(1)")
        exper(project, "run", "base", code=1)
        exper(project, "continue", "base", code=1)
        exper(project, "rerun", "base", code=1)
        assert log(project, "base/0") == ["hello"] * 2
        exper(project, "rm", "base", "--tag", "--yes")
        assert manager.left(project) == []
    finally:
        shutil.rmtree(other)


def test_training_leaves_no_bytecode_in_it(project: paths.Project) -> None:
    (project.code / "part.py").write_text("")
    write(project, main="import part, sys; sys.exit(1)")
    exper(project, "run", "base", code=1)
    assert list(project.tag("base").snapshot.rglob("__pycache__")) == []
