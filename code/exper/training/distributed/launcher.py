"""Start main.py once for each training process of this node with torchrun's own agent, and end when they end.

The process that the supervisor started becomes the launcher: it keeps the lock, the control pipe and the terminal,
forwards signals and copies output. Each process that it starts (a rank) leads its own session, as torchrun requires,
and gets the run's lock as standard input, the only descriptor that torchrun passes on: see `run.py`.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import LogsDest, LogsSpecs

from exper.core import files, slurm
from exper.core.terminal import FinalLines
from exper.training import stopping
from exper.training.distributed import nodes

_STDIN = 0
_STDOUT = 1
_REFUSED = 2  # the exit code for a wrong setting, which the supervisor reports
_STOPPED = {128 + number for number in stopping.SIGNALS}
_POLL_SECONDS = 0.1


def start(
    folder: Path, count: int, threads: int, *, job: slurm.Job | None, lock: int | None, environment: Mapping[str, str]
) -> NoReturn:
    """Start `count` processes on this machine and exit with the exit code of training.

    Args:
        folder: the run's folder.
        count: the number of processes.
        threads: the threads of each process.
        job: the run's SLURM job, as it is recorded.
        lock: the descriptor that holds the run's lock; None on a further node of a job.
        environment: the variables that tell each process its run.
    """
    variables = dict(environment)
    variables["EXPER_LAUNCHER"] = str(os.getpid())
    variables["OMP_NUM_THREADS"] = str(threads)
    variables["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGQUIT"  # the agent below handles the others
    if lock is not None:
        variables["EXPER_LOCK"] = str(_STDIN)
    with _as_stdin(lock), _in_environment(variables):
        code = _launch(folder, count, job)
    raise SystemExit(code)


def _launch(folder: Path, count: int, job: slurm.Job | None) -> int:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # TCPStore warns when a rank is gone; we report it
    meeting = nodes.meeting(job)
    if meeting.nodes == 1 and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing listens to other machines
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the agent below reports failures
    others = nodes.Others(meeting)
    outputs = _Outputs(count, is_first_node=meeting.node == 0)
    agent = _Agent(_spec(meeting, folder, count), outputs, others)
    result = agent.run()
    outputs.close()
    code = others.wait()
    if not result.is_failed():
        return code
    code = agent.first_failure.code if agent.first_failure else 1
    return code if code > 0 else 128 - code if 128 - code in _STOPPED else 1


def _spec(meeting: nodes.Meeting, folder: Path, count: int) -> WorkerSpec:
    return WorkerSpec(
        role="",
        local_world_size=count,
        entrypoint=sys.executable,
        args=("-s", *sys.argv),
        rdzv_handler=meeting.handler(f"exper-{folder}"),
        max_restarts=0,
        monitor_interval=_POLL_SECONDS,
        local_addr="127.0.0.1" if meeting.nodes == 1 else None,  # None: torchrun uses the host's name
    )


class _Failure(NamedTuple):
    name: str  # of the rank, or of the other nodes
    code: int  # exit code, or minus the signal


class _Asked(NamedTuple):
    signal: int
    at: float  # on the monotonic clock


class _Agent(LocalElasticAgent):
    """Torchrun's agent of this node; it also forwards signals, and ends all ranks as soon as one fails."""

    def __init__(self, spec: WorkerSpec, outputs: "_Outputs", others: nodes.Others) -> None:
        super().__init__(spec, outputs)
        self.first_failure: _Failure | None = None
        self._outputs = outputs
        self._others = others
        self._pids: dict[int, int] = {}
        self._asked: _Asked | None = None  # the first signal that asked training to stop
        for number in stopping.SIGNALS:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGTSTP, self._pause)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._others.have_met()
        self._pids = super()._start_workers(worker_group)
        self._outputs.copy()
        if self._asked is not None:  # the signal came before the ranks were known
            self._signal(self._asked.signal)
        return self._pids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        """Kill the other ranks if one has failed: they would wait for it, or fail with errors that only confuse."""
        started: Any = self._pcontext
        store: Any = self._store
        codes = {
            f"rank{worker.global_rank}": started.subprocess_handlers[worker.local_rank].proc.poll()
            for worker in worker_group.workers
        }
        codes["other nodes"] = self._others.failed()
        self._note({name: code for name, code in codes.items() if code})
        if self.first_failure is None and (code := nodes.told_failure(store)):
            self.first_failure = _Failure("another node", code)  # whose launcher reports it
            self._kill_ranks()
        result: RunResult = super()._monitor_workers(worker_group)
        self._note({f"rank{number}": failure.exitcode for number, failure in result.failures.items()})  # since then
        return result

    def _note(self, failed: dict[str, int]) -> None:
        """Remember the first rank that failed, and end all ranks unless it was asked to stop."""
        if not failed or self.first_failure is not None:
            return
        name, code = min(failed.items(), key=lambda failure: failure[1] in _STOPPED)
        self.first_failure = _Failure(name, code)
        if code not in _STOPPED:
            store: Any = self._store
            nodes.tell_failure(store, code)
            self._kill_ranks()
            if code != _REFUSED:
                _print(f"[{name}]: ".encode(), f"{_describe(code)}: the run ends\n".encode())

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self._asked is None:
            self._asked = _Asked(number, time.monotonic())
        is_second = number == self._asked.signal == signal.SIGINT and stopping.is_second(self._asked.at)
        self._others.signal(signal.SIGKILL if is_second else number)
        self._signal(signal.SIGKILL if is_second else number)
        if is_second:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    def _pause(self, _number: int, _frame: FrameType | None) -> None:
        """At Ctrl-Z, stop together with all ranks, which have no terminal of their own, and continue with them."""
        self._signal(signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._pause)
        self._signal(signal.SIGCONT)

    def _kill_ranks(self) -> None:
        self._signal(signal.SIGKILL)
        self._outputs.settle()

    def _signal(self, number: int) -> None:
        """Send a signal to every rank; one that stops or kills goes to the programs that a rank started, too."""
        send = os.kill if number in stopping.SIGNALS else os.killpg
        for pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(pid, number)


def _describe(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed (exit code {code})"


class _Outputs(LogsSpecs):
    """The output of the ranks: the first writes to our terminal, the others each to a pipe, copied with their rank."""

    def __init__(self, count: int, *, is_first_node: bool) -> None:
        super().__init__()
        self._pipes = {number: os.pipe() for number in range(int(is_first_node), count)}
        self._threads: list[threading.Thread] = []
        self._is_over = threading.Event()

    @property
    def root_log_dir(self) -> str:
        return os.devnull

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        self._ranks = {local: env["RANK"] for local, env in envs.items()}
        paths = dict.fromkeys(envs, "") | {local: f"/dev/fd/{writing}" for local, (_, writing) in self._pipes.items()}
        return LogsDest(stdouts=dict(paths), stderrs=dict(paths), error_files=dict.fromkeys(envs, os.devnull))

    def copy(self) -> None:
        """Start to copy. Not before the ranks have started: a process with threads must not fork."""
        for local, (reading, _) in self._pipes.items():
            copier = threading.Thread(target=self._copy, args=(reading, f"[rank{self._ranks[local]}]: ".encode()))
            copier.start()
            self._threads.append(copier)

    def settle(self) -> None:
        """Give the copying threads a moment for what has been printed."""
        time.sleep(2 * _POLL_SECONDS)

    def close(self) -> None:
        """Copy what is left."""
        self._is_over.set()
        for copier in self._threads:
            copier.join()

    def _copy(self, reading: int, prefix: bytes) -> None:
        remaining = FinalLines()
        while True:
            if select.select([reading], [], [], _POLL_SECONDS)[0]:
                _print(prefix, remaining.feed(os.read(reading, 1 << 16)))
            elif self._is_over.is_set():
                _print(prefix, remaining.close())
                return


def _print(prefix: bytes, text: bytes) -> None:
    # Torch's own errors already have this prefix. A progress bar of the first rank may stand at the start of the line.
    begin = b"\r\x1b[K" if os.isatty(_STDOUT) else b""
    lines = b"".join(begin + prefix + line.removeprefix(prefix) for line in text.splitlines(keepends=True))
    files.write_all(_STDOUT, lines)


@contextlib.contextmanager
def _in_environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in ("EXPER_CONTROL", "EXPER_OUTPUT"):  # for this process only
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _as_stdin(descriptor: int | None) -> Iterator[None]:
    if descriptor is None:
        yield
        return
    before = os.dup(_STDIN)
    os.dup2(descriptor, _STDIN)
    try:
        yield
    finally:
        os.dup2(before, _STDIN)
        os.close(before)
