"""Start main.py once for each process that trains on this node, by torchrun's own agent, and end as they end.

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
from typing import Any, NoReturn

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import LogsDest, LogsSpecs

from exper.core import files
from exper.core.terminal import Remaining
from exper.training import stopping
from exper.training.distributed import nodes
from exper.training.run import Run

_STDIN, _STDOUT = 0, 1
_REFUSED = 2  # the exit code of a wrong setting, which the supervisor tells
_STOPPED = {128 + number for number in stopping.SIGNALS}


def start(run: Run, count: int, threads: int) -> NoReturn:
    """Start `count` processes on this machine, with `threads` each, and end with the exit code of training."""
    given = run.environment() | {
        "EXPER_LAUNCHER": str(os.getpid()),
        "OMP_NUM_THREADS": str(threads),
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGQUIT",  # the others are ours
    }
    if run.lock is not None:
        given["EXPER_LOCK"] = str(_STDIN)
    with _as_input(run.lock), _in_environment(given):
        code = _launched(run, count)
    raise SystemExit(code)


def _launched(run: Run, count: int) -> int:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns that it looks for weights without gradients
    meeting = nodes.meeting(run)
    if meeting.nodes == 1 and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing listens to other machines
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it ourselves
    others, outputs = nodes.Others(meeting), _Outputs(count, is_first_node=meeting.node == 0)
    agent = _Agent(_spec(meeting, run, count), outputs, others)
    result = agent.run()
    outputs.close()
    code = others.wait()
    if not result.is_failed():
        return code
    code = agent.first[1] if agent.first else 1
    return code if code > 0 else 128 - code if 128 - code in _STOPPED else 1


def _spec(meeting: nodes.Meeting, run: Run, count: int) -> WorkerSpec:
    return WorkerSpec(
        role="",
        local_world_size=count,
        entrypoint=sys.executable,
        args=("-s", *sys.argv),
        rdzv_handler=meeting.handler(f"exper-{run.files.folder}"),
        max_restarts=0,
        monitor_interval=0.1,
        local_addr="127.0.0.1" if meeting.nodes == 1 else None,  # None: by its name
    )


class _Agent(LocalElasticAgent):
    """Torchrun's agent of this node, which in addition passes signals on and ends at once with a rank that fails."""

    def __init__(self, spec: WorkerSpec, outputs: "_Outputs", others: nodes.Others) -> None:
        super().__init__(spec, outputs)
        self.first: tuple[str, int] | None = None  # of those that failed: its name, and its exit code or - signal
        self._outputs = outputs
        self._others = others
        self._pids: dict[int, int] = {}
        self._asked: tuple[int, float] | None = None
        for number in stopping.SIGNALS:
            signal.signal(number, self._pass_on)
        signal.signal(signal.SIGTSTP, self._pause)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._others.have_met()
        self._pids = super()._start_workers(worker_group)
        self._outputs.copy()
        if self._asked is not None:  # before the ranks were known
            self._signal(self._asked[0])
        return self._pids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        """Kill the others if a rank has failed: they would wait for it, or give up with errors that only confuse."""
        started: Any = self._pcontext
        store: Any = self._store
        codes = {
            f"rank{worker.global_rank}": started.subprocess_handlers[worker.local_rank].proc.poll()
            for worker in worker_group.workers
        }
        codes["other nodes"] = self._others.failed()
        self._note({name: code for name, code in codes.items() if code})
        if self.first is None and (code := nodes.told_failure(store)):
            self.first = "another node", code  # whose launcher says it
            self._kill_ranks()
        result: RunResult = super()._monitor_workers(worker_group)
        self._note({f"rank{number}": failure.exitcode for number, failure in result.failures.items()})  # since then
        return result

    def _note(self, failed: dict[str, int]) -> None:
        """Keep which rank failed first, if one has; unless it was asked to end, this ends all."""
        if not failed or self.first is not None:
            return
        self.first = name, code = min(failed.items(), key=lambda one: one[1] in _STOPPED)
        if code not in _STOPPED:
            store: Any = self._store
            nodes.tell_failure(store, code)
            self._kill_ranks()
            if code != _REFUSED:
                _print(f"[{name}]: ".encode(), f"{_how(code)}: the run ends\n".encode())

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._asked is None:
            self._asked = number, time.monotonic()
        is_second = number == self._asked[0] == signal.SIGINT and stopping.is_second(self._asked[1])
        self._others.signal(signal.SIGKILL if is_second else number)
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

    def _kill_ranks(self) -> None:
        self._signal(signal.SIGKILL)
        self._outputs.settle()

    def _signal(self, number: int) -> None:
        """Send a signal to every rank, and what stops or kills it to the programs that it has started, too."""
        send = os.kill if number in stopping.SIGNALS else os.killpg
        for pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(pid, number)


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed (exit code {code})"


class _Outputs(LogsSpecs):
    """What ranks print: the first to our terminal itself, the others through a pipe each, with their rank."""

    def __init__(self, count: int, *, is_first_node: bool) -> None:
        super().__init__()
        self._pipes = {number: os.pipe() for number in range(int(is_first_node), count)}
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
    files.write_all(_STDOUT, lines)


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
def _as_input(descriptor: int | None) -> Iterator[None]:
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
