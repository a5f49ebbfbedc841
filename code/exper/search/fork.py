"""Make a fork of this process what `python -s main.py` would have become, but with what is imported already.

The fork never returns: Python ends in it as it ends everywhere, with the frames of the supervisor still below.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.machinery
import io
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from exper.runs.supervisor import Program
from exper.search import message

_NOT_FLUSHED = 120  # Python's exit code for it
_OURS: list[types.ModuleType] = []  # keeps what is still in use, and saves taking it apart


@dataclass
class Forked:
    """A program in a fork of this process."""

    pid: int
    returncode: int | None = None


class Waiting:
    """A fork of this process, which must have one thread: made ahead, as it takes a while, it waits for a program."""

    def __init__(self, prepare: Callable[[Program], None], mask: set[int]) -> None:
        """Fork; `prepare` is called there before the program is run, with the signals in `mask` blocked."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._orders, theirs = socket.socketpair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # none is to reach handlers of ours
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._orders.close()
                _forget()
                program = _received(theirs)
                _become(program)
                prepare(program)
                _run(program, mask)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def start(self, program: Program) -> Forked:
        """Run a program there.

        Raises:
            OSError: the fork is gone.
        """
        content = {
            "folder": str(program.folder),
            "name": program.name,
            "arguments": program.arguments,
            "environment": program.environment,
            "handed": program.handed,
        }
        with self._orders as orders:
            message.send(orders, content, program.output, *program.handed)
        return Forked(self._pid)

    def dismiss(self) -> None:
        """End the fork: there is no program for it."""
        self._orders.close()
        os.waitpid(self._pid, 0)


def _received(orders: socket.socket) -> Program:
    """Wait for a program; have the descriptors that it is handed under the numbers which it knows."""
    received = message.receive(orders)
    if received is None:
        os._exit(0)
    content, descriptors = received
    orders.detach()  # its number may be one of those
    out_of_the_way = max([*content["handed"], *descriptors]) + 1
    output, *handed = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, out_of_the_way) for descriptor in descriptors)
    for descriptor, number in zip(handed, content["handed"], strict=True):
        os.dup2(descriptor, number)
    return Program(
        Path(content["folder"]),
        content["name"],
        tuple(content["arguments"]),
        content["environment"],
        output,
        tuple(content["handed"]),
    )


# -- what a process has before its program begins ----------------------------------------------------------------------


def _forget() -> None:
    """Undo what this process has had that no program starts with; ahead, as it takes a while."""
    _reset_signals()
    importlib.invalidate_caches()
    ours = [name for name in sys.modules if name.partition(".")[0] in ("exper", "__mp_main__")]
    _OURS.extend(map(sys.modules.pop, ours))
    _draw_anew()


def _become(program: Program) -> None:
    os.setpgrp()
    _keep_descriptors(program)
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    sys.argv = [str(program.file), *program.arguments]
    sys.orig_argv = [sys.executable, "-s", *sys.argv]
    sys.dont_write_bytecode = True
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, str(program.file.parent))
    multiprocessing.process.ORIGINAL_DIR = os.getcwd()  # type: ignore[attr-defined]
    _open_standard_streams()


def _reset_signals() -> None:
    """Do what exec and the start of Python do: what was ignored stays so, what was handled is not."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _keep_descriptors(program: Program) -> None:
    for standard in (1, 2):
        os.dup2(program.output, standard)
    for handed in program.handed:
        os.set_inheritable(handed, True)
    for other in set(map(int, os.listdir("/dev/fd"))) - {0, 1, 2, *program.handed}:
        with contextlib.suppress(OSError):  # the one that listed them
            os.close(other)


def _open_standard_streams() -> None:
    """Open them as Python does at its start, with the encoding of ours."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        text = _stream(descriptor, getattr(sys, name))
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def _stream(descriptor: int, ours: io.TextIOWrapper) -> io.TextIOWrapper:
    mode, is_unbuffered = "w" if descriptor else "r", ours.write_through
    binary: Any = open(descriptor, f"{mode}b", 0 if is_unbuffered else -1, closefd=False)
    raw = binary if is_unbuffered else binary.raw
    raw.name = ours.name
    text: Any = io.TextIOWrapper(
        binary,
        ours.encoding,
        ours.errors,
        newline="\n",
        line_buffering=descriptor == 2 or (raw.isatty() and not is_unbuffered),
        write_through=is_unbuffered,
    )
    text.mode = mode
    return text  # type: ignore[no-any-return]


def _draw_anew() -> None:
    """Draw what a process draws at its start."""
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    current: Any = multiprocessing.current_process()
    current.authkey = os.urandom(32)


# -- the program -------------------------------------------------------------------------------------------------------


def _run(program: Program, mask: set[int]) -> NoReturn:
    """Run the program as `__main__`, and end as Python does."""
    path = str(program.file)
    main: Any = types.ModuleType("__main__")
    main.__builtins__ = sys.modules["builtins"]
    main.__file__, main.__cached__, main.__annotations__ = path, None, {}
    main.__loader__ = loader = importlib.machinery.SourceFileLoader("__main__", path)
    sys.modules["__main__"] = main
    is_killed = False
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        exec(loader.source_to_code(loader.get_data(path), path), main.__dict__)  # noqa: S102
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        code, is_killed = _report(error, path), isinstance(error, KeyboardInterrupt)
    code = code if _end() else _NOT_FLUSHED
    if is_killed:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _exit_code(error: SystemExit) -> int:
    """Return what the system gets to know; a text is printed."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _report(error: BaseException, path: str) -> int:
    """Print the traceback, from the program's own frame on; return the exit code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    except SystemExit as other:
        return _exit_code(other)
    return 1


def _end() -> bool:
    """Join threads, run what atexit has, and flush all that is open; return whether the standard streams could be.

    To take all modules apart, as Python does as well, would copy most of what was imported: half a second.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    left = gc.get_objects()
    for kind in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
        for file in left:
            if type(file) is kind:
                with contextlib.suppress(OSError, ValueError):  # closed, or no way to write it any more
                    file.flush()
    ctypes.CDLL(None).fflush(None)
    return _is_flushed(sys.stdout) & _is_flushed(sys.stderr)


def _is_flushed(stream: TextIO | None) -> bool:
    if stream is not None and not getattr(stream, "closed", False):
        try:
            stream.flush()
        except Exception:
            return False
    return True
