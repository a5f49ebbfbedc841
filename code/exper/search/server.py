"""The server of warm starts: it has imported torch, and forks a supervisor for each trial.

The server is a program of its own (`server.py <root> <packages> <requests> <searching> <threads>`): the searching
process needs no torch and may have threads. The server computes nothing and touches no GPU, so a fork of it computes
the same numbers as a new Python. It ends with the searching process, and so do its supervisors; killing the server
harms no supervisor.

The standard library's forkserver took 4 to 6 times as long: `python -I` hides our modules from its preload, so each
supervisor imports and prepares everything itself; and training has to be a second fork in any case, a child of its
supervisor, with the state of a new process.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from exper.core import paths
    from exper.search.trial_supervisor import Supervisor

_EXPER = Path(__file__).resolve().parents[1]
_LONGEST_REQUEST = 1 << 16  # bytes
_SPARE_SECONDS = 0.2  # from a request to the fork of the next supervisor: the start of the trial comes first
# Modules to import for a required package. None of the user's: any module may compute something when imported.
_IMPORTED = {
    "torch": ("torch", "torch.utils.data"),
    "torchvision": ("torchvision", "torchvision.transforms.v2"),
    "tensorboard": (
        *("tensorboard.compat.proto.event_pb2", "tensorboard.compat.proto.summary_pb2"),
        "tensorboard.summary.writer.record_writer",
    ),
}

# -- in the searching process ------------------------------------------------------------------------------------------


class Server:
    """A server for the time of the block; trials that still run at its end are asked to end."""

    def __init__(self, project: "paths.Project", threads: int, required: Iterable[str] = tuple(_IMPORTED)) -> None:
        """Serve trials of `threads` threads whose code has these requirements; other trials start cold."""
        self._project = project
        self._threads = threads
        self._packages = [name for name in _IMPORTED if name in set(required)]

    def __enter__(self) -> "Server":
        self._searching = os.pipe()
        self._launch()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for end in self._searching:
            os.close(end)
        self._close()

    @property
    def pid(self) -> int:
        """The id of the server, which passes SIGINT, SIGTERM and SIGUSR1 on to all trials; a kill changes it."""
        return self._process.pid

    def start(self, request: dict[str, Any]) -> int:
        """Begin or resume a run; return a pipe for `wait_for_report`, which closes when the run's supervisor ends.

        Raises:
            RuntimeError: the server failed.
        """
        reading, writing = os.pipe()
        try:
            self._send(json.dumps(request).encode(), writing)
        except (BrokenPipeError, ConnectionResetError):
            self._relaunch()
            self._send(json.dumps(request).encode(), writing)
        finally:
            os.close(writing)
        return reading

    def _send(self, request: bytes, report: int) -> None:
        socket.send_fds(self._requests, [request], [report])

    def _launch(self) -> None:
        self._requests, requests = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        handed = requests.fileno(), self._searching[0]
        arguments = [self._project.root, ",".join(self._packages), *handed, self._threads]
        with requests:
            self._process = subprocess.Popen(
                [sys.executable, "-s", __file__, *map(str, arguments)],
                cwd=self._project.root,
                # as training has it, so that its imports do the same
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=handed,
                start_new_session=True,
            )

    def _relaunch(self) -> None:
        """Replace a server that was killed or asked to end."""
        returncode = self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        self._close()
        if returncode > 0:
            raise RuntimeError(f"the server of warm starts failed: {text}")
        self._launch()

    def _close(self) -> None:
        self._requests.close()
        self._errors.close()
        self._process.wait()


def wait_for_report(pipe: int) -> dict[str, str]:
    """Wait for the end of the supervisor behind a pipe; return {}, or the reason for which the run has no end.

    That is one of {"refused": text}, {"bug": traceback}, {"failed": text} and {"lost": text}: the server ended before
    it began the run, so ask again, unless the server was asked to end.
    """
    with open(pipe, "rb") as file:
        return parse_report(file.read())


def parse_report(data: bytes) -> dict[str, str]:
    """Return the report in the data of a pipe that has closed."""
    if not data:
        return {"lost": "the server of warm starts ended before it began the run"}
    content: dict[str, str] = json.loads(data) if data.strip() else {}
    return content


def prune(run: "paths.Run", epoch: int, why: str) -> None:
    """Ask a run to save and end; its status will be `pruned`, with the epoch and the reason."""
    from exper.core import files, host_info
    from exper.runs import run_record

    files.write_json(run.prune, {"epoch": epoch, "why": why})
    record = run_record.read(run)
    if host_info.is_here(record) and host_info.is_alive(record["pid"], record["pid_started"]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record["pid"], signal.SIGTERM)


# -- in the server -----------------------------------------------------------------------------------------------------


def main(root: str, packages: str, requests: int, searching: int, threads: int) -> None:
    """Import, then serve the process at the other end of the socket `requests` and the pipe `searching`."""
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != _EXPER / "search"]
    runpy.run_path(str(_EXPER / "__main__.py"))["load_package"]()
    from exper.core.paths import Project
    from exper.search.trial_supervisor import Supervisor

    for handed in (requests, searching):
        os.set_inheritable(handed, False)
    _import_warm(packages.split(","), threads)
    _Service(socket.socket(fileno=requests), Supervisor(Project(Path(root)), threads, searching)).run()
    os._exit(0)  # Python would take all modules apart


def _import_warm(packages: list[str], threads: int) -> None:
    """Import with the thread counts that libraries read once, without starting a thread."""
    before = dict(os.environ)
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name in [module for package in packages for module in _IMPORTED.get(package, ())]:
        with contextlib.suppress(Exception):  # training will say what is wrong
            importlib.import_module(name)
    os.environ.clear()
    os.environ |= before
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False  # a fork does not own its resources, and the call takes 30 ms
    gc.collect()
    gc.freeze()  # or the first collection in a fork copies every page, which took half of the whole start


class _Service:
    """Fork a supervisor for each request, until the searching process is gone or a signal asks to end.

    Signals are passed on to all supervisors, so after the first signal the server waits for its supervisors.
    """

    def __init__(self, requests: socket.socket, supervisor: "Supervisor") -> None:
        from exper.core.signals import STOPPING

        self._requests = requests
        self._supervisor = supervisor
        self._pids: set[int] = set()  # of supervisors at work
        self._spare: _Idle | None = None
        self._has_begun = self._is_ending = False
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])  # of a supervisor at work
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._is_ending = True
        for pid in self._pids:
            os.kill(pid, number)  # an ended process keeps its pid until it is waited for

    def run(self) -> None:
        from exper.runs.supervisor import wakeup_pipe

        with wakeup_pipe() as wakeup:
            while self._pids or not self._is_ending:
                sources: list[Any] = [wakeup] if self._is_ending else [wakeup, self._requests]
                needs_spare = self._spare is None and self._has_begun and not self._is_ending
                ready = select.select(sources, [], [], _SPARE_SECONDS if needs_spare else None)[0]
                if not ready and needs_spare:
                    self._spare = self._fork()
                if wakeup in ready:
                    os.read(wakeup, 4096)
                    self._wait_for_ended()
                if self._is_ending:
                    self._requests.close()  # requests that have not begun never will: their pipes close
                elif self._requests in ready and not self._answer():
                    return

    def _wait_for_ended(self) -> None:
        self._pids.difference_update([pid for pid in self._pids if os.waitpid(pid, os.WNOHANG)[0]])
        if self._spare is not None and os.waitpid(self._spare.pid, os.WNOHANG)[0]:
            self._spare.orders.close()
            self._spare = None

    def _answer(self) -> bool:
        """Begin the run of the next request; return False if there will be no more requests."""
        text, descriptors, _, _ = socket.recv_fds(self._requests, _LONGEST_REQUEST, 1)
        if not text:
            return False
        request = json.loads(text)
        report = descriptors[0]
        os.set_inheritable(report, False)
        self._supervisor.prepare(request)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # until the supervisor is in `_pids`
        if not self._is_ending:
            self._hand_over(request, report)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        os.close(report)
        return True

    def _hand_over(self, request: dict[str, Any], report: int) -> None:
        from exper.search import fork

        self._has_begun = True  # `prepare` has been called, so a spare supervisor can be forked
        for _ in range(2):  # the spare one may have been killed
            idle = self._spare or self._fork()
            self._spare = None
            with idle.orders, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                fork.send(idle.orders, request, report)
                self._pids.add(idle.pid)
                return

    def _fork(self) -> "_Idle":
        """Fork a supervisor, which waits for its request with all signals blocked."""
        ours, orders = socket.socketpair()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self._pids.clear()
            for other in (self._requests, ours):
                other.close()
            self._supervisor.serve(orders, self._mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        orders.close()
        return _Idle(pid, ours)


class _Idle(NamedTuple):
    """A supervisor that waits for a request."""

    pid: int
    orders: socket.socket


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
