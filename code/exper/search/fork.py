"""Turn a fork of this process into the process that `python -s main.py` would be, with the imports of this one.

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
import json
import multiprocessing
import os
import random
import signal
import socket
import struct
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

from exper.runs.supervisor import Program

_NOT_FLUSHED = 120  # Python's exit code for it
_LENGTH = struct.Struct("=I")
_MOST_DESCRIPTORS = 8
_forgotten: list[types.ModuleType] = []  # modules of ours that are still in use here


# -- messages between the processes of a warm start --------------------------------------------------------------------


class Message(NamedTuple):
    """An object, with open descriptors."""

    content: dict[str, Any]
    descriptors: list[int]


def send(to: socket.socket, content: dict[str, Any], *descriptors: int) -> None:
    """Send a message; the receiver gets its own descriptors of the same open files.

    Raises:
        OSError: the receiver is gone.
    """
    text = json.dumps(content).encode()
    socket.send_fds(to, [_LENGTH.pack(len(text))], descriptors)
    to.sendall(text)


def receive(connection: socket.socket) -> Message | None:
    """Wait for a message; return None if the sender is gone."""
    length, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, _MOST_DESCRIPTORS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    with connection.makefile("rb") as file:
        text = file.read(_LENGTH.unpack(length)[0]) if length else b""
    return Message(json.loads(text), descriptors) if text else None


# -- the fork ----------------------------------------------------------------------------------------------------------


@dataclass
class Forked:
    """A program in a fork of this process."""

    pid: int
    returncode: int | None = None


class Waiting:
    """A fork of this process that waits for a program; made ahead, as a fork takes a while."""

    def __init__(self, prepare: Callable[[Program], None], mask: set[int]) -> None:
        """Fork this process, which must have one thread.

        The fork calls `prepare` before it runs the program, then blocks the signals in `mask` alone.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        self._orders, orders = socket.socketpair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # none may reach handlers of ours
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._orders.close()
                _forget()
                program = _received(orders)
                _become(program)
                prepare(program)
                _run(program, mask)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        orders.close()

    def start(self, program: Program) -> Forked:
        """Run a program in the fork.

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
            send(orders, content, program.output, *program.handed)
        return Forked(self._pid)

    def dismiss(self) -> None:
        """End the fork, for which there is no program."""
        self._orders.close()
        os.waitpid(self._pid, 0)


def _received(orders: socket.socket) -> Program:
    """Wait for a program; give the descriptors that it is handed the numbers that it expects."""
    message = receive(orders)
    if message is None:
        os._exit(0)
    content, descriptors = message
    orders.detach()  # its number may be one of the expected ones
    unused = max([*content["handed"], *descriptors]) + 1
    output, *handed = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, unused) for descriptor in descriptors)
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


# -- the state of a new process ----------------------------------------------------------------------------------------


def _forget() -> None:
    """Undo the state that no new process has; ahead of the program, as it takes a while."""
    _reset_signals()
    importlib.invalidate_caches()
    ours = [name for name in sys.modules if name.partition(".")[0] in ("exper", "__mp_main__")]
    _forgotten.extend(map(sys.modules.pop, ours))
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
    """Reset handlers as exec and the start of Python do: ignored signals stay ignored, handled ones get the default."""
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
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            os.close(other)


def _open_standard_streams() -> None:
    """Open stdin, stdout and stderr as Python does at its start, with the encoding of ours."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        text = _stream(descriptor, getattr(sys, name))
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def _stream(descriptor: int, ours: io.TextIOWrapper) -> io.TextIOWrapper:
    mode = "w" if descriptor else "r"
    is_unbuffered = ours.write_through
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
    """Draw the random numbers that a process draws at its start."""
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
    main.__file__ = path
    main.__cached__ = None
    main.__annotations__ = {}
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
        code = _report(error, path)
        is_killed = isinstance(error, KeyboardInterrupt)
    code = code if _end() else _NOT_FLUSHED
    if is_killed:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _exit_code(error: SystemExit) -> int:
    """Return the exit code of `sys.exit`; a text is printed, and the code is 1."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _report(error: BaseException, path: str) -> int:
    """Print the traceback from the program's own frame on; return the exit code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    except SystemExit as exit_:
        return _exit_code(exit_)
    return 1


def _end() -> bool:
    """Join threads, run atexit functions, flush open files; return whether the standard streams could be flushed.

    Python would also take all modules apart, which copies most of their memory: half a second.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    objects = gc.get_objects()
    for kind in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
        for file in objects:
            if type(file) is kind:
                with contextlib.suppress(OSError, ValueError):  # closed, or it can't be written any more
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
