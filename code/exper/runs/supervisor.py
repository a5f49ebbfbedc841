"""The supervisor: starts training, passes on signals and the terminal, copies its output, and waits for its end."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from exper.core import paths
from exper.core import terminal as output
from exper.core.signals import Signals
from exper.runs import status

_STDIN = 0
_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class Program:
    """A program of a snapshot's `code/`, as it is started."""

    folder: Path  # the snapshot, where it works
    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    output: int  # the descriptor that becomes 1 and 2
    handed: tuple[int, ...]  # descriptors that it keeps under their numbers

    @property
    def file(self) -> Path:
        return self.folder / "code" / self.name


class Training(Protocol):
    """A child of this process."""

    pid: int
    returncode: int | None  # None until its end is noted


def start(program: Program) -> Training:
    """Start a program in a Python of its own, leading a process group of its own."""
    return subprocess.Popen(
        # -s: as we do, no packages but the environment's
        [sys.executable, "-s", str(program.file), *program.arguments],
        cwd=program.folder,
        env=program.environment,
        stdout=program.output,
        stderr=program.output,
        pass_fds=program.handed,
        preexec_fn=_own_group,
    )


def supervise(
    run: paths.Run,
    folder: Path,
    environment: dict[str, str],
    lock: int,
    signals: Signals,
    *,
    between_lines: Callable[[], None] = lambda: None,
    watch: Callable[[], None] | None = None,
    is_shown: bool = True,
    program: tuple[str, ...] = ("main.py",),
    start: Callable[[Program], Training] = start,
) -> int:
    """Run a program of `code/` in `folder`, with its arguments, to its end; return its exit code, or minus a signal.

    Training runs in a process group of its own, which has the terminal while it runs: Ctrl-C reaches it once, and
    debuggers can read. It holds the lock too, and one end of a pipe whose other end goes when this process goes.
    `watch` is called again and again while it runs, and `between_lines` while what it printed last is a whole line.
    What it prints goes to the log and, if it `is_shown`, to where our own output goes.
    """
    master, slave = output.open_terminal()
    relay = output.Relay(master, output.open_log(run.log), _standard_output() if is_shown else None)
    relay.resize()
    control, ours = os.pipe()
    handed = {"EXPER_LOCK": lock, "EXPER_CONTROL": control, "EXPER_OUTPUT": master}
    environment = environment | {name: str(number) for name, number in handed.items()}
    started = Program(folder, program[0], program[1:], environment, slave, tuple(handed.values()))
    with contextlib.ExitStack() as stack:
        wakened, terminal = stack.enter_context(wakeup_pipe()), stack.enter_context(_terminal_kept())
        training = start(started)
        stack.enter_context(heartbeat(run))  # only now: a process with threads must not be forked
        os.close(slave)
        os.close(control)
        signals.receiver = training.pid
        if signals.noted is not None:  # it came while training was being started
            os.kill(training.pid, signals.noted)
        terminal.lend(training.pid)
        sources = [wakened, master]
        while training.returncode is None:
            ready = select.select(sources, [], [], 1.0 if watch is None else _WATCH_SECONDS)[0]
            if master in ready and not relay.pump():
                sources = [wakened]  # it has closed its output, and may still work
            if wakened in ready:
                os.read(wakened, 4096)
            if signals.noted is not None:
                status.mark_ending(run)
            if watch is not None:
                watch()
            if relay.is_between_lines:
                between_lines()
            _look_after(training, terminal)
            if relay.resize():
                _signal_group(training.pid, signal.SIGWINCH)
        signals.receiver = None
        signals.was_without_terminal = terminal.is_lent
        relay.close()
    os.close(ours)
    os.close(master)
    return training.returncode


def environment(run: paths.Run, data: Path, record: dict[str, Any]) -> dict[str, str]:
    """Return the environment of training."""
    ours = {
        "EXPER_RUN": str(run.folder),
        "EXPER_DATA": str(data),
        "EXPER_SEED": str(record["seed"]),
        "EXPER_FORMAT": str(record["format"]),
        "OMP_NUM_THREADS": str(record["threads"]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if _standard_output() is None or not os.isatty(1):
        ours["TERM"] = "dumb"  # what colours its output would fill a file with escape sequences
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("EXPER_")}
    # Waiting threads that spin made two 2-thread runs on 2 cores 7 times slower.
    return {"OMP_WAIT_POLICY": "passive"} | theirs | ours


@contextlib.contextmanager
def heartbeat(run: paths.Run) -> Iterator[None]:
    """Touch the run's heartbeat within the block."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(status.HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(run.heartbeat)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Terminal:
    """The terminal on standard input, if we have it: lent to training, taken back when that stops or ends."""

    def __init__(self) -> None:
        self.is_lent = False

    def lend(self, group: int) -> None:
        """Make training the foreground of the terminal, if we are."""
        try:
            if os.isatty(_STDIN) and os.tcgetpgrp(_STDIN) == os.getpgrp():
                os.tcsetpgrp(_STDIN, group)
                self.is_lent = True
        except OSError:  # the terminal is gone
            self.is_lent = False

    def take_back(self) -> None:
        """Make our own group the foreground again."""
        if self.is_lent:
            self.is_lent = False
            with contextlib.suppress(OSError):
                os.tcsetpgrp(_STDIN, os.getpgrp())

    def stop_with(self, group: int) -> None:
        """Stop as training has stopped at Ctrl-Z, and go on with it once the shell says so."""
        self.take_back()
        os.kill(0, signal.SIGTSTP)  # we go on here after `fg` or `bg`
        self.lend(group)
        _signal_group(group, signal.SIGCONT)


@contextlib.contextmanager
def _terminal_kept() -> Iterator[_Terminal]:
    """Leave the terminal as it was, whatever a debugger in a killed training has made of it."""
    attributes = None
    with contextlib.suppress(termios.error, OSError):
        attributes = termios.tcgetattr(_STDIN)
    # Training is in the foreground, so we must be able to write and to take the terminal back from behind.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    terminal = _Terminal()
    try:
        yield terminal
    finally:
        was_lent = terminal.is_lent
        terminal.take_back()
        if attributes is not None and was_lent:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(_STDIN, termios.TCSADRAIN, attributes)
        signal.signal(signal.SIGTTOU, before)


@contextlib.contextmanager
def wakeup_pipe() -> Iterator[int]:
    """Yield a pipe that becomes readable when a child stops or ends, or a signal with a handler comes."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGCHLD, before)
        os.close(reading)
        os.close(writing)


def _own_group() -> None:
    """Run in training before its program starts."""
    os.setpgrp()
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _look_after(training: Training, terminal: _Terminal) -> None:
    """Note the end of training, or stop with it. Popen can't tell of a stop, so that it does not wait here at all."""
    pid, state = os.waitpid(training.pid, os.WNOHANG | os.WUNTRACED)
    if pid == 0:
        return
    if not os.WIFSTOPPED(state):
        training.returncode = os.waitstatus_to_exitcode(state)
    elif os.WSTOPSIG(state) in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        terminal.stop_with(training.pid)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _standard_output() -> int | None:
    try:
        os.fstat(1)
    except OSError:
        return None
    return 1
