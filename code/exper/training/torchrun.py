"""Start main.py once for each process that trains, by torchrun's own agent, and end as they end.

The process that the supervisor started becomes the launcher: it keeps lock, control pipe and terminal, passes signals
on, and copies what is printed. Each process it starts (a rank) leads a session of its own, as torchrun wants it, and
gets the run's lock as standard input, the one descriptor that torchrun leaves to it: see `run.py`.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import LogsDest, LogsSpecs
from torch.distributed.elastic.rendezvous import RendezvousParameters, registry

from exper.output import Remaining
from exper.training import stop
from exper.training.run import Run

_STDIN, _STDOUT = 0, 1
_REFUSED = 2  # the exit code of a wrong setting, which the supervisor tells
_STOPPED = {128 + number for number in stop.SIGNALS}


class Meeting(NamedTuple):
    """Where the launchers of all nodes meet: torchrun's --nnodes, --node-rank, --rdzv-backend, --rdzv-endpoint."""

    nodes: int = 1
    node: int = 0  # this one's number
    backend: str = "c10d"
    endpoint: str = "localhost:0"  # any free port
    address: str | None = "127.0.0.1"  # of this node; None: by its name


def start(run: Run, count: int, threads: int) -> NoReturn:
    """Start `count` processes on this machine, with `threads` each, and end with the exit code of training."""
    given = run.environment() | {
        "EXPER_LOCK": str(_STDIN),
        "EXPER_LAUNCHER": str(os.getpid()),
        "OMP_NUM_THREADS": str(threads),
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGQUIT",  # the others are ours
    }
    with _as_input(run.lock), _in_environment(given):
        code = _launched(run, count)
    raise SystemExit(code)


def _launched(run: Run, count: int) -> int:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns that it looks for weights without gradients
    meeting = Meeting()
    if meeting.nodes == 1 and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing listens to other machines
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it ourselves
    outputs = _Outputs(count)
    agent = _Agent(_spec(meeting, run, count), outputs)
    result = agent.run()
    outputs.close()
    if not result.is_failed():
        return 0
    code = agent.first[1] if agent.first else 1
    return code if code > 0 else 128 - code if 128 - code in _STOPPED else 1


def _spec(meeting: Meeting, run: Run, count: int) -> WorkerSpec:
    parameters = RendezvousParameters(
        meeting.backend, meeting.endpoint, f"exper-{run.files.folder}", meeting.nodes, meeting.nodes, meeting.address,
        rank=meeting.node,
    )  # fmt: skip
    return WorkerSpec(
        role="",
        local_world_size=count,
        entrypoint=sys.executable,
        args=("-s", *sys.argv),
        rdzv_handler=registry.get_rendezvous_handler(parameters),
        max_restarts=0,
        monitor_interval=0.1,
        local_addr=meeting.address,
    )


class _Agent(LocalElasticAgent):
    """Torchrun's agent of this machine, which in addition passes signals on and ends at once with a rank that fails."""

    def __init__(self, spec: WorkerSpec, outputs: "_Outputs") -> None:
        super().__init__(spec, outputs)
        self.first: tuple[int, int] | None = None  # of those that failed: its number, and its exit code or - signal
        self._outputs = outputs
        self._pids: dict[int, int] = {}
        self._asked: tuple[int, float] | None = None
        for number in stop.SIGNALS:
            signal.signal(number, self._pass_on)
        signal.signal(signal.SIGTSTP, self._pause)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._pids = super()._start_workers(worker_group)
        self._outputs.copy()
        if self._asked is not None:  # before the ranks were known
            self._signal(self._asked[0])
        return self._pids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        """Kill the others if a rank has failed: they would wait for it, or give up with errors that only confuse."""
        started: Any = self._pcontext
        codes = {
            worker.global_rank: started.subprocess_handlers[worker.local_rank].proc.poll()
            for worker in worker_group.workers
        }
        failed = {number: code for number, code in codes.items() if code}
        if failed and self.first is None:
            self.first = min(failed.items(), key=lambda one: one[1] in _STOPPED)
            if self.first[1] not in _STOPPED:
                self._signal(signal.SIGKILL)
                self._outputs.settle()
                if self.first[1] != _REFUSED:
                    _print(f"[rank{self.first[0]}]: ".encode(), f"{_how(self.first[1])}: the run ends\n".encode())
        result: RunResult = super()._monitor_workers(worker_group)
        return result

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._asked is None:
            self._asked = number, time.monotonic()
        is_second = number == self._asked[0] == signal.SIGINT and stop.is_second(self._asked[1])
        self._signal(signal.SIGKILL if is_second else number)
        if is_second:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    def _pause(self, _number: int, _frame: FrameType | None) -> None:
        """Stop at Ctrl-Z with all ranks, which have no terminal of their own, and go on with them."""
        self._signal(signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._pause)
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """Send a signal to every rank, and what stops or kills it to the programs that it has started, too."""
        send = os.kill if number in stop.SIGNALS else os.killpg
        for pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(pid, number)


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed (exit code {code})"


class _Outputs(LogsSpecs):
    """What ranks print: the first to our terminal itself, the others through a pipe each, with their rank."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._pipes = {number: os.pipe() for number in range(1, count)}
        self._threads: list[threading.Thread] = []
        self._is_over = threading.Event()

    @property
    def root_log_dir(self) -> str:
        return os.devnull

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        self._numbers = {local: env["RANK"] for local, env in envs.items()}
        to = dict.fromkeys(envs, "") | {local: f"/dev/fd/{writing}" for local, (_, writing) in self._pipes.items()}
        return LogsDest(stdouts=dict(to), stderrs=dict(to), error_files=dict.fromkeys(envs, os.devnull))

    def copy(self) -> None:
        """Begin to copy: not before the ranks are there, as a process with threads must not be forked."""
        for local, (reading, _) in self._pipes.items():
            copier = threading.Thread(target=self._copy, args=(reading, f"[rank{self._numbers[local]}]: ".encode()))
            copier.start()
            self._threads.append(copier)

    def settle(self) -> None:
        """Wait a moment for what has been printed."""
        time.sleep(0.2)

    def close(self) -> None:
        """Copy what is left."""
        self._is_over.set()
        for copier in self._threads:
            copier.join()

    def _copy(self, reading: int, prefix: bytes) -> None:
        remaining = Remaining()
        while True:
            if select.select([reading], [], [], 0.1)[0]:
                _print(prefix, remaining.feed(os.read(reading, 1 << 16)))
            elif self._is_over.is_set():
                _print(prefix, remaining.close())
                return


def _print(prefix: bytes, text: bytes) -> None:
    # Errors have this prefix already, from torch. The first rank's bar may stand where a line begins.
    begin = b"\r\x1b[K" if os.isatty(_STDOUT) else b""
    lines = b"".join(begin + prefix + line.removeprefix(prefix) for line in text.splitlines(keepends=True))
    while lines:
        lines = lines[os.write(_STDOUT, lines) :]


@contextlib.contextmanager
def _in_environment(more: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for ours in ("EXPER_CONTROL", "EXPER_OUTPUT"):
        os.environ.pop(ours, None)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _as_input(descriptor: int) -> Iterator[None]:
    before = os.dup(_STDIN)
    os.dup2(descriptor, _STDIN)
    try:
        yield
    finally:
        os.dup2(before, _STDIN)
        os.close(before)
