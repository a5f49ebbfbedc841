"""The entry of every command: what source.sh, cron and sbatch call, as `python -I code/exper run baseline`.

It starts under any Python from 3.8 on, far enough for environment.py to find the right one.
"""

import os
import sys

if sys.path[0] == os.path.dirname(__file__):
    del sys.path[0]  # before any other import: a folder of ours must not hide a package of the same name

import contextlib
import importlib
import importlib.util
import io
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the command that the arguments name; return its exit code."""
    _open_standard_streams()
    _show_any_text()
    load_package()
    from exper.core.errors import Refused
    from exper.environment import ensure

    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    try:
        if command != "complete":  # completion makes no environment, and says nothing
            ensure(HERE.parent.parent)
        from exper import commands

        command = commands.SHORT_NAMES.get(command, command)
        code = _call(commands.find(command), sys.argv[2:])
        sys.stdout.flush()
    except BrokenPipeError:  # as `| head` closes it
        return 128 + signal.SIGPIPE
    except Refused as refusal:
        return _fail(2, f"{command}: {refusal}")
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.strerror is None:
            return _bug(command)
        where = f": {error.filename}" if error.filename else ""
        return _fail(1, f"{command}: {error.strerror}{where}")
    except Exception:
        return _bug(command)
    return code


def _open_standard_streams() -> None:
    """Open the streams that the caller has closed: else the next file we open becomes stdout and gets our output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            assert os.open(os.devnull, os.O_RDWR) == number
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))


def _show_any_text() -> None:
    """Show characters that a terminal's encoding lacks as escapes, as Python does on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Flush the output; drop it if its reader is gone, or Python would end with an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def load_package() -> None:
    """Import the package `exper` from here, without code/ on the path: a user's queue.py must not hide Python's."""
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
    spec = importlib.util.spec_from_file_location("exper", HERE / "__init__.py", submodule_search_locations=[str(HERE)])
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["exper"] = package
    spec.loader.exec_module(package)


def _call(command: "Callable[[list[str], Any], int]", arguments: "list[str]") -> int:
    from exper.core import signals
    from exper.core.paths import Project

    try:
        return command(arguments, Project(HERE.parent.parent))
    except signals.Interrupted as error:
        if error.was_typed:
            _pass_on_ctrl_c()
        return 128 + error.number


def _pass_on_ctrl_c() -> None:
    """Send our process group the Ctrl-C that reached training alone, so that a loop or script around us ends too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(0, signal.SIGINT)


def _bug(command: str) -> int:
    with contextlib.suppress(OSError):  # nobody reads it
        traceback.print_exc()
    return _fail(3, f"{command}: this is a bug of Exper. Please report it with the lines above.")


def _fail(code: int, text: str) -> int:
    from exper.core.messages import say

    say(text)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        _flush()
