"""Start trials warm: in forks of a server that has imported already what every training imports.

The server is a program of its own (`warm.py <root> <packages> <requests> <searching> <threads>`), so that the process
that searches needs no torch and may have threads. It computes nothing and touches no GPU: then the numbers of a fork
are those of a Python of its own. It ends with the process that searches, and so do the supervisors that it forks; a
server that is killed harms none of them.
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
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exper.core import paths
    from exper.search.trial_supervisor import Supervisor

_EXPER = Path(__file__).resolve().parents[1]
_LONGEST_REQUEST = 1 << 16  # bytes
_SPARE_SECONDS = 0.2  # after a request until the next supervisor is forked: the trial's start comes first
# Of what the code requires, this is imported: nothing of the user's, for any module may compute as it is imported.
_IMPORTED = {
    "torch": ("torch", "torch.utils.data"),
    "torchvision": ("torchvision", "torchvision.transforms.v2"),
    "tensorboard": (
        *("tensorboard.compat.proto.event_pb2", "tensorboard.compat.proto.summary_pb2"),
        "tensorboard.summary.writer.record_writer",
    ),
}

# -- in the process that searches --------------------------------------------------------------------------------------


class Server:
    """The server of warm starts, as long as the block lasts; what it has started is asked to end with the block."""

    def __init__(self, project: "paths.Project", threads: int, required: Iterable[str] = tuple(_IMPORTED)) -> None:
        """Serve trials of `threads` threads whose code has these requirements; others start as well, but slower."""
        self._project, self._threads = project, threads
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
        """Who passes SIGINT, SIGTERM and SIGUSR1 on to all trials; another one after a server was killed."""
        return self._process.pid

    def start(self, request: dict[str, Any]) -> int:
        """Begin or take up a run; return a pipe that ends with its supervisor, to be read by `report`.

        Raises:
            RuntimeError: the server can't work.
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
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._said: IO[bytes] = tempfile.TemporaryFile()
        handed = theirs.fileno(), self._searching[0]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", __file__, *self._words(*handed)],
                cwd=self._project.root,
                # As training has it: what is imported there is to be as it would be here.
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                pass_fds=handed,
                start_new_session=True,
            )

    def _words(self, *handed: int) -> list[str]:
        return [str(self._project.root), ",".join(self._packages), *map(str, (*handed, self._threads))]

    def _relaunch(self) -> None:
        """Start another server in the place of one that was killed, or asked to end."""
        returncode = self._process.wait()
        self._said.seek(0)
        text = self._said.read().decode(errors="replace").strip()
        self._close()
        if returncode > 0:
            raise RuntimeError(f"the server of warm starts failed: {text}")
        self._launch()

    def _close(self) -> None:
        self._requests.close()
        self._said.close()
        self._process.wait()


def report(pipe: int) -> dict[str, str]:
    """Wait until the supervisor behind a pipe has ended; return nothing, or what went wrong.

    That is one of {"refused": text}, {"bug": traceback}, and {"lost": text}: the server ended before it could begin, so
    ask again, unless it was asked to end.
    """
    with open(pipe, "rb") as file:
        return parsed(file.read())


def parsed(text: bytes) -> dict[str, str]:
    """Return what `report` does, from all that has come through the pipe."""
    if not text:
        return {"lost": "the server of warm starts ended before it began the run"}
    content: dict[str, str] = json.loads(text) if text.strip() else {}
    return content


def prune(run: "paths.Run", epoch: int, why: str) -> None:
    """Ask a run to save and end; its status will be `pruned`, with the epoch that was looked at and the reason."""
    from exper.core import files, host_info
    from exper.runs import run_record

    files.write_json(run.prune, {"epoch": epoch, "why": why})
    record = run_record.read(run)
    if host_info.is_here(record) and host_info.is_alive(record["pid"], record["pid_started"]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record["pid"], signal.SIGTERM)


# -- in the server -----------------------------------------------------------------------------------------------------


def main(root: str, packages: str, requests: int, searching: int, threads: int) -> None:
    """Import, then serve the process that holds the other ends of the socket `requests` and the pipe `searching`."""
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != _EXPER / "search"]
    runpy.run_path(str(_EXPER / "__main__.py"))["load_package"]()
    from exper.core.paths import Project
    from exper.search import huge_pages
    from exper.search.trial_supervisor import Supervisor

    for handed in (requests, searching):
        os.set_inheritable(handed, False)
    _import_warm(packages.split(","), threads)
    huge_pages.take()
    _Service(socket.socket(fileno=requests), Supervisor(Project(Path(root)), threads, searching)).run()
    os._exit(0)  # Python would take all modules apart


def _import_warm(packages: list[str], threads: int) -> None:
    """Import under the thread counts that libraries read once, such that no thread is started."""
    before = dict(os.environ)
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name in [module for package in packages for module in _IMPORTED.get(package, ())]:
        with contextlib.suppress(Exception):  # training will say what is wrong
            importlib.import_module(name)
    os.environ.clear()
    os.environ |= before
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False  # what it would take back is not a fork's, and takes 30 ms
    gc.collect()
    gc.freeze()  # or the first collection in a fork copies every page: that took as long as all else together


class _Service:
    """Fork a supervisor for each request, until the process that searches is gone, or a signal asks to end.

    A signal is passed on to all supervisors, a second one as well: so then this process ends after them.
    """

    def __init__(self, requests: socket.socket, supervisor: "Supervisor") -> None:
        from exper.core.signals import STOPPING

        self._requests, self._supervisor = requests, supervisor
        self._pids: set[int] = set()  # of those at work
        self._spare: tuple[int, socket.socket] | None = None  # one that waits for its request, and where it does
        self._has_begun = self._is_ending = False
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])  # of a supervisor at work
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._is_ending = True
        for pid in self._pids:
            os.kill(pid, number)  # one that has ended keeps its pid until it is waited for

    def run(self) -> None:
        from exper.runs.supervisor import wakeup_pipe

        with wakeup_pipe() as wakened:
            while self._pids or not self._is_ending:
                sources: list[Any] = [wakened] if self._is_ending else [wakened, self._requests]
                is_lacking = self._spare is None and self._has_begun and not self._is_ending
                ready = select.select(sources, [], [], _SPARE_SECONDS if is_lacking else None)[0]
                if not ready and is_lacking:
                    self._spare = self._fork()
                if wakened in ready:
                    os.read(wakened, 4096)
                    self._pids.difference_update([pid for pid in self._pids if os.waitpid(pid, os.WNOHANG)[0]])
                    self._look_after_spare()
                if self._is_ending:
                    self._requests.close()  # what was asked for and not begun never is: its pipe ends
                elif self._requests in ready and not self._answer():
                    return

    def _answer(self) -> bool:
        """Begin what the next request asks for; return False if there will be none."""
        message, descriptors, _, _ = socket.recv_fds(self._requests, _LONGEST_REQUEST, 1)
        if not message:
            return False
        request, report = json.loads(message), descriptors[0]
        os.set_inheritable(report, False)
        self._supervisor.prepare(request)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # until it is in `_pids`
        if not self._is_ending:
            self._hand_over(request, report)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        os.close(report)
        return True

    def _hand_over(self, request: dict[str, Any], report: int) -> None:
        from exper.search import message

        self._has_begun = True  # and is prepared, so that another can be forked ahead
        for _ in range(2):  # the spare one may have been killed
            pid, orders = self._spare or self._fork()
            self._spare = None
            with orders, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                message.send(orders, request, report)
                self._pids.add(pid)
                return

    def _fork(self) -> tuple[int, socket.socket]:
        """Fork a supervisor, which waits with all signals blocked."""
        orders, theirs = socket.socketpair()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self._pids.clear()
            for other in (self._requests, orders):
                other.close()
            self._supervisor.wait(theirs, self._mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        return pid, orders

    def _look_after_spare(self) -> None:
        if self._spare is not None and os.waitpid(self._spare[0], os.WNOHANG)[0]:
            self._spare[1].close()
            self._spare = None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
