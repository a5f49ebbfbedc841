"""A real MLflow server on loopback, as long as tests need it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.manager import wait_for

_PROGRAM = Path(sys.prefix) / "bin" / "mlflow"
needed = pytest.mark.skipif(
    not _PROGRAM.exists() or not shutil.which("git"), reason="mlflow is not installed: no server has been asked"
)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[int]:
    """Yield the port of an empty server."""
    port = _free_port()
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        open(folder / "server.log", "wb") as log,
        subprocess.Popen(
            [str(_PROGRAM), *words], cwd=folder, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
        ) as server,
    ):
        try:
            wait_for(lambda: _is_ready(port), 90)
            yield port
        finally:
            os.killpg(server.pid, 9)


def _is_ready(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(urllib.error.URLError, OSError), opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
