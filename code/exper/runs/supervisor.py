"""The supervisor of training: starts it, passes on signals and the terminal, copies its output, waits for its end."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Protocol

from exper.core import paths, terminal
from exper.core.signals import Signals
from exper.runs import status

_STDIN = 0
_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class Program:
    """A program in a snapshot's `code/`, ready to be started."""

    folder: Path  # the snapshot, which is its working folder
    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    output: int  # the descriptor that becomes 1 and 2
    handed: tuple[int, ...]  # descriptors that it inherits under their numbers

    @property
    def file(self) -> Path:
        return self.folder / "code" / self.name


class Training(Protocol):
    """A child of this process."""

    pid: int
    returncode: int | None  # None until its end is noted


def start(program: Program) -> Training:
    """Start a program in a Python of its own, as the leader of a new process group."""
    return subprocess.Popen(
        # -s: as here, no packages but the environment's
        [sys.executable, "-s", str(program.file), *program.arguments],
        cwd=program.folder,
        env=program.environment,
        stdout=program.output,
        stderr=program.output,
        pass_fds=program.handed,
        preexec_fn=_lead_group,
    )


@dataclass(frozen=True)
class Supervisor:
    """Runs a program of `code/` to its end.

    Training leads a process group of its own, which has the terminal while it runs: Ctrl-C reaches it once, and
    debuggers can read. It holds the lock too, and one end of a pipe whose other end closes when this process ends.
    """

    run: paths.Run
    folder: Path  # the snapshot
    environment: dict[str, str]
    lock: int
    signals: Signals
    _: KW_ONLY
    program: tuple[str, ...] = ("main.py",)  # its name, then its arguments
    is_shown: bool = True  # copy its output to our own output, not only to the log
    between_lines: Callable[[], None] = lambda: None  # called while the last line that it printed is complete
    watch: Callable[[], None] | None = None  # called every 0.1 s
    start: Callable[[Program], Training] = start

    def supervise(self) -> int:
        """Run the program; return its exit code, or minus the number of the signal that ended it."""
        master, slave = terminal.open_terminal()
        relay = terminal.Relay(master, terminal.open_log(self.run.log), _standard_output() if self.is_shown else None)
        relay.resize()
        control, ours = os.pipe()
        with contextlib.ExitStack() as stack:
            wakeup = stack.enter_context(wakeup_pipe())
            foreground = stack.enter_context(_foreground_restored())
            training = self.start(self._program(slave, control, master))
            stack.enter_context(heartbeat(self.run))  # only now: a process with threads must not be forked
            os.close(slave)
            os.close(control)
            self._pass_on_signals(training)
            foreground.lend(training.pid)
            returncode = self._wait(training, relay, wakeup, foreground)
            self.signals.receiver = None
            self.signals.was_without_terminal = foreground.is_lent
            relay.close()
        os.close(ours)
        os.close(master)
        return returncode

    def _program(self, output: int, control: int, master: int) -> Program:
        descriptors = {"EXPER_LOCK": self.lock, "EXPER_CONTROL": control, "EXPER_OUTPUT": master}
        environment = self.environment | {name: str(number) for name, number in descriptors.items()}
        name, *arguments = self.program
        return Program(self.folder, name, tuple(arguments), environment, output, tuple(descriptors.values()))

    def _pass_on_signals(self, training: Training) -> None:
        self.signals.receiver = training.pid
        if self.signals.noted is not None:  # it came while training was being started
            os.kill(training.pid, self.signals.noted)

    def _wait(self, training: Training, relay: terminal.Relay, wakeup: int, foreground: "_Foreground") -> int:
        """Copy output and react to signals until training ends; return its return code."""
        sources = [wakeup, relay.master]
        timeout = 1.0 if self.watch is None else _WATCH_SECONDS
        while training.returncode is None:
            ready = select.select(sources, [], [], timeout)[0]
            if relay.master in ready and not relay.pump():
                sources = [wakeup]  # it has closed its output, and may still work
            if wakeup in ready:
                os.read(wakeup, 4096)
            if self.signals.noted is not None:
                status.mark_ending(self.run)
            if self.watch is not None:
                self.watch()
            if relay.is_between_lines:
                self.between_lines()
            _note_end_or_stop(training, foreground)
            if relay.resize():
                _signal_group(training.pid, signal.SIGWINCH)
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
        ours["TERM"] = "dumb"  # coloured output would fill a file with escape sequences
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("EXPER_")}
    # Waiting threads that spin made two 2-thread runs on 2 cores 7 times slower.
    return {"OMP_WAIT_POLICY": "passive"} | theirs | ours


@contextlib.contextmanager
def heartbeat(run: paths.Run) -> Iterator[None]:
    """Touch the run's heartbeat within the block."""
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(status.HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(run.heartbeat)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class _Foreground:
    """The foreground of the terminal on standard input: lent to training, taken back when that stops or ends."""

    def __init__(self) -> None:
        self.is_lent = False

    def lend(self, group: int) -> None:
        """Make a process group the foreground, if our own group is."""
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
        """Stop, as training did at Ctrl-Z; continue it when the shell continues us."""
        self.take_back()
        os.kill(0, signal.SIGTSTP)  # execution continues here after `fg` or `bg`
        self.lend(group)
        _signal_group(group, signal.SIGCONT)


@contextlib.contextmanager
def _foreground_restored() -> Iterator[_Foreground]:
    """Restore the terminal's foreground and its attributes, which a debugger in a killed training may have changed."""
    attributes = None
    with contextlib.suppress(termios.error, OSError):
        attributes = termios.tcgetattr(_STDIN)
    # Training is in the foreground; from the background we must still be able to write and take the terminal back.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    foreground = _Foreground()
    try:
        yield foreground
    finally:
        was_lent = foreground.is_lent
        foreground.take_back()
        if attributes is not None and was_lent:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(_STDIN, termios.TCSADRAIN, attributes)
        signal.signal(signal.SIGTTOU, before)


@contextlib.contextmanager
def wakeup_pipe() -> Iterator[int]:
    """Yield the end of a pipe that is readable once a child has stopped or ended, or a handled signal has come."""
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


def _lead_group() -> None:
    """Prepare the child before its program starts."""
    os.setpgrp()
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _note_end_or_stop(training: Training, foreground: _Foreground) -> None:
    """Note the end of training, or stop with it. Popen can't report a stop, so its `wait` and `poll` aren't used."""
    pid, state = os.waitpid(training.pid, os.WNOHANG | os.WUNTRACED)
    if pid == 0:
        return
    if not os.WIFSTOPPED(state):
        training.returncode = os.waitstatus_to_exitcode(state)
    elif os.WSTOPSIG(state) in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        foreground.stop_with(training.pid)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _standard_output() -> int | None:
    try:
        os.fstat(1)
    except OSError:
        return None
    return 1
