"""Run commands as a user does, and read the files that they leave.

Training is a small script here, which knows of Exper only its environment variables.
"""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest

from exper.core import paths
from exper.runs import run_record, status

# The start of a training script: ready() publishes its pid, so that a test knows that it has started.
READY = """\
import os, pathlib, signal, sys, time
run = pathlib.Path(os.environ["EXPER_RUN"])
def ready():
    (run / "beside").write_text(str(os.getpid()))
    (run / "beside").rename(run / "ready")
def seconds_until(name):
    deadline = time.monotonic() + 30
    while not (run / name).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
"""
SLEEPS = READY + "ready()\ntime.sleep(60)\n"
WAITS = READY + "ready()\nseconds_until('go')\nprint('done')\n"
SAVES = (
    READY
    + """\
def save(number, frame):
    (run / "saved").touch()
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, save)
ready()
time.sleep(60)
"""
)
# As exper/training does: at the control pipe's end it saves and exits 143.
WATCHES = (
    READY
    + """\
ready()
os.read(int(os.environ["EXPER_CONTROL"]), 1)
time.sleep(0.5)
(run / "saved").touch()
sys.exit(143)
"""
)
REFUSES = READY + "(run / 'refused').write_text('lr must be above 0.\\n')\nsys.exit(2)\n"


def git(root: Path, *arguments: str) -> str:
    """Run git in `root` and return what it prints."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout


def command(project: paths.Project, *arguments: str) -> list[str]:
    """Return the command line of a command."""
    return [sys.executable, "-I", str(project.code / "exper"), *arguments]


def exper(project: paths.Project, *arguments: str, code: int = 0, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, in a session of its own, and assert its exit code."""
    settings: dict[str, Any] = {"cwd": project.root, "stdin": subprocess.DEVNULL, "timeout": 60} | options
    if "stdout" not in options:
        settings["capture_output"] = True
    done = subprocess.run(
        command(project, *arguments), text=True, errors="surrogateescape", start_new_session=True, **settings
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def refused(project: paths.Project, *arguments: str, **options: Any) -> str:
    """Run a command that is refused without a traceback; return its message."""
    error: str = exper(project, *arguments, code=2, **options).stderr
    assert "Traceback" not in error
    return error


@contextlib.contextmanager
def asked(project: paths.Project, *arguments: str) -> Iterator["pexpect.spawn[str]"]:
    """Start a command on a terminal, up to its question before a removal; after the block it has ended."""
    program, *words = command(project, *arguments)
    with pexpect.spawn(program, words, timeout=20, encoding="utf-8") as terminal:
        terminal.expect("Remove")
        yield terminal
        terminal.expect(pexpect.EOF)


_MOUNTS = ["unshare", "--mount", "sh", "-c"]
_CAN_MOUNT = os.getuid() == 0 and shutil.which("unshare") and not subprocess.run([*_MOUNTS, "true"]).returncode
can_mount = pytest.mark.skipif(not _CAN_MOUNT, reason="only root can mount a small disk: a full one is not tested")


def on_a_small_disk(
    project: paths.Project, folder: Path, *arguments: str
) -> tuple["subprocess.CompletedProcess[str]", list[str]]:
    """Run a command for which `folder` is on a disk of 100 kB; return the process and the names left on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    script = 'left=$1; shift; mount -t tmpfs -o size=100k none "$0" && "$@"; code=$?; ls -A "$0" >"$left"; exit $code'
    with tempfile.NamedTemporaryFile("r") as left:
        words = [*_MOUNTS, script, str(folder), left.name, *command(project, *arguments)]
        done = subprocess.run(words, cwd=project.root, capture_output=True, text=True, timeout=60)
        return done, left.read().split()


def on_a_read_only_disk(project: paths.Project, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command for which `folder` is on a read-only disk."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    words = [*_MOUNTS, script, str(folder), *command(project, *arguments)]
    return subprocess.run(words, cwd=project.root, capture_output=True, text=True, timeout=60)


_AS_STRANGER = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
_CAN_BE_STRANGER = subprocess.run([*_AS_STRANGER, "true"], capture_output=True).returncode == 0
needs_stranger = pytest.mark.skipif(not _CAN_BE_STRANGER, reason="the system allows no user namespaces")


def as_stranger(project: paths.Project, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a user without passwd entry, HOME, name or root's rights."""
    bare = [word for name in ("HOME", "USER", "LOGNAME", "GIT_CONFIG_GLOBAL") for word in ("-u", name)]
    line = [*_AS_STRANGER, "env", *bare, *command(project, *words)]
    return subprocess.run(line, capture_output=True, text=True, cwd="/", timeout=60)


def start(project: paths.Project, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """Start a command in a session of its own."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    settings: dict[str, Any] = {"cwd": project.root, "start_new_session": True} | quiet | options
    return subprocess.Popen(command(project, *arguments), text=True, **settings)


@contextlib.contextmanager
def training(
    project: paths.Project, *arguments: str, run: str | None = None, **options: Any
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run a command for which `folder` is on a disk of 100 kB; return the process and the names left there."""
    at = the_run(project, run or f"{arguments[1]}/0")
    (at.folder / "ready").unlink(missing_ok=True)
    supervisor = start(project, *arguments, **options)
    pid = 0
    try:
        wait_for(lambda: (at.folder / "ready").exists() or supervisor.poll() is not None)
        if not (at.folder / "ready").exists():
            raise AssertionError(supervisor.communicate()[0])
        pid = int((at.folder / "ready").read_text())
        yield supervisor, pid
    finally:
        end(supervisor, pid)
        if pid:
            wait_for(lambda: is_gone(pid))


def end(supervisor: "subprocess.Popen[str]", training: int) -> None:
    """Kill a command and its training (pid 0: not started), if they still run."""
    for pid in (supervisor.pid, training):
        with contextlib.suppress(ProcessLookupError):
            if pid and (pid != supervisor.pid or supervisor.poll() is None):
                os.kill(pid, signal.SIGKILL)
    if supervisor.stdout:
        supervisor.stdout.close()
    supervisor.wait(10)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def write(project: paths.Project, **files: str) -> None:
    """Write files of code/ (`main="…"` is code/main.py) and commit everything."""
    for name, text in files.items():
        (project.code / f"{name}.py").write_text(textwrap.dedent(text))
    commit(project)


def commit(project: paths.Project) -> None:
    """Commit everything."""
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--allow-empty", "--message=next")


def the_run(project: paths.Project, name: str) -> paths.Run:
    """Return the run `<tag>/<id>`."""
    tag, _, number = name.partition("/")
    return project.tag(tag).run(int(number))


def state(project: paths.Project, name: str) -> str:
    """Return the status of the run `<tag>/<id>`."""
    return status.read(the_run(project, name))


def record(project: paths.Project, name: str) -> run_record.Record:
    """Return the record of the run `<tag>/<id>`."""
    return run_record.read(the_run(project, name))


def edit_record(project: paths.Project, name: str, **changes: Any) -> None:
    """Change keys of a run's record, and those of them that its last session has."""
    at = the_run(project, name)
    now = json.loads(at.record.read_text()) | changes
    now["sessions"][-1] |= {key: value for key, value in changes.items() if key in now["sessions"][-1]}
    at.record.write_text(json.dumps(now))


def log(project: paths.Project, name: str) -> list[str]:
    """Return the lines of a run's log, without the headers of sessions."""
    lines = the_run(project, name).log.read_text(errors="surrogateescape").splitlines()
    return [line for line in lines if not line.startswith("===")]


def tags(project: paths.Project) -> list[str]:
    """Return git's tags."""
    return git(project.root, "tag").split()


def finished(project: paths.Project) -> list[str]:
    """Return the lines of finished.txt."""
    path = project.list_file("finished")
    return path.read_text().splitlines() if path.exists() else []


def left(project: paths.Project) -> list[str]:
    """Return the names in __result__, without the lock."""
    return sorted(path.name for path in project.result.glob("*") if path.name not in (".lock", "README.md"))


def of_the_user(root: Path) -> dict[str, Any]:
    """Return all that no command may touch: the user's files with their times, index, HEAD, branches and stash.

    The manager's bytecode and files below /__*__ are not the user's.
    """
    folder = Path(git(root, "rev-parse", "--absolute-git-dir").strip())
    look = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false"]
    found: dict[str, Any] = {
        "index": _bytes(folder / "index"),
        "HEAD": _bytes(folder / "HEAD"),
        "status": subprocess.check_output([*look, "status", "--porcelain=v2", "--branch", "-z"], cwd=root),
        "stash": git(root, "stash", "list"),
        "branches": git(root, "for-each-ref", "refs/heads", "refs/remotes", "refs/stash"),
        "git": sorted(path.name for path in folder.iterdir()),
    }
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".git" and not name.startswith("__")]
        for name in [*folders, *names]:
            path = Path(parent, name)
            about = path.lstat()
            if stat.S_ISDIR(about.st_mode):
                found[str(path)] = about.st_mode
            else:
                data = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path)] = (about.st_mode, about.st_mtime_ns, about.st_ino, data)
    return found


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@contextlib.contextmanager
def untouched(root: Path) -> Iterator[None]:
    """Assert that the block changes nothing of the user's."""
    before = of_the_user(root)
    yield
    after = of_the_user(root)
    changed = {
        key: (before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)
    }
    assert not changed, changed


@contextlib.contextmanager
def nothing_left(project: paths.Project) -> Iterator[None]:
    """Assert that the block leaves no tag, id or folder, and changes nothing of the user's."""
    before = tags(project), left(project)
    with untouched(project.root):
        yield
    assert (tags(project), left(project)) == before


def git_that(folder: Path, script: str) -> str:
    """Return a PATH on which `git` is `script`, where "$@" is the real command and `$count` the number of the call."""
    folder.mkdir(exist_ok=True)
    real = shutil.which("git")
    assert real is not None
    (folder / "git").write_text(
        f"#!/bin/sh\ncount=$(( $(cat {shlex.quote(str(folder))}/count 2>/dev/null || echo 0) + 1 ))\n"
        f'echo $count >{shlex.quote(str(folder))}/count\nset -- {real} "$@"\n{script}\n'
    )
    (folder / "git").chmod(0o755)
    (folder / "count").unlink(missing_ok=True)
    return f"{folder}:{os.environ['PATH']}"
