"""A real PostgreSQL on loopback, as long as a test needs it."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.manager import wait_for

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []
needed = pytest.mark.skipif(not _FOLDERS, reason="postgresql is not installed: no search has shared a database")
_USER = "postgres"  # PostgreSQL refuses to run as root


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Yield the URL of an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="exper-postgres-"))
    port = _free_port()
    try:
        if os.getuid() == 0:
            os.chown(folder, pwd.getpwnam(_USER).pw_uid, -1)
        _call(folder, "initdb", "-D", "data", "-U", "exper", "-A", "trust", "--no-sync")
        log = (folder / "log").open("wb")
        options = ["-D", "data", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
        with log, subprocess.Popen(_command("postgres", *options), cwd=folder, stdout=log, stderr=log) as server:
            try:
                wait_for(lambda: _is_ready(port))
                yield f"postgresql+psycopg://exper@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # does not wait for clients
                server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_ready(port: int) -> bool:
    words = [str(_FOLDERS[-1] / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
    return subprocess.run(words, check=False).returncode == 0


def _call(folder: Path, *words: str) -> None:
    subprocess.run(_command(*words), cwd=folder, check=True, capture_output=True)


def _command(program: str, *words: str) -> list[str]:
    command = [str(_FOLDERS[-1] / program), *words]
    return ["setpriv", "--reuid", _USER, "--regid", _USER, "--clear-groups", *command] if os.getuid() == 0 else command


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
