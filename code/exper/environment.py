"""The Python environment: the active one if it will do, else `.venv` in the project, made on first use.

Standard library only, and Python 3.8 can read this file: it has to say that 3.10 is needed. `.venv` is built in
place, because its scripts hold its path. Two names in it tell how far it is:

    exper-unfinished    being made or changed; unless the lock is held, whoever did it was killed: made anew
    exper-complete      holds the requirement lines that it was made from

With neither it is the user's own, and never changed here.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exper.core.errors import Refused

SIZE_GB = 6
PIP_NEEDS_GB = 9  # it keeps what it downloaded until all is installed; uv unpacks as it downloads
_OLDEST_PYTHON = (3, 10)
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?")
_CONDITION = re.compile(r"""\s*(\w+)\s*([<>=!]=|<|>)\s*["']([^"']*)["']\s*""")
_INSTALLED = re.compile(r"([^-]+)-([^-]+).*\.(?:dist|egg)-info")


def ensure(root: Path) -> None:
    """Return if the running Python has what the project requires; else start the same command under one that has.

    Raises:
        Refused: there is none and none could be made.
    """
    own = _own(root)
    if not _will_do(own):
        python = _another(own)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(python, [python, "-I", os.path.abspath(sys.argv[0]), *sys.argv[1:]])  # noqa: S606


def for_tests(root: Path) -> str:
    """Return the path of a Python that has what the project and its tests require, made if need be.

    Raises:
        Refused: there is none and none could be made.
    """
    own = _own(root, "requirements-dev.txt")
    return sys.executable if _will_do(own) else _another(own)


def _own(root: Path, *more: str) -> Environment:
    return Environment(root, [root / "code" / name for name in ("requirements.txt", *more)])


def _will_do(own: Environment) -> bool:
    if own.is_running() and not own.is_users():
        return own.is_ready()
    return sys.version_info >= _OLDEST_PYTHON and not lacking(own.lines)


def _another(own: Environment) -> str:
    """Return the Python of `.venv`, made if need be."""
    if not own.is_ready():
        _check_python()
        if own.is_users():
            return own.users_python()
        own.make()
    return own.python


def lacking(lines: list[str]) -> list[str]:
    """Return the requirement lines that the running Python does not meet.

    A floor (`>=`) is compared; of any other condition only the name counts. The names of folders are enough for
    that, and ten times as fast as importlib.metadata.
    """
    installed = _installed()
    missing = []
    for line in lines:
        match = _REQUIREMENT.match(line)
        marker = line.partition(";")[2]
        if line.startswith("-") or (marker and not _holds(marker)):  # an option of pip's; not required here
            continue
        version = installed.get(_normal(match[1])) if match else None
        if not match or version is None or _number(version) < _number(match[2] or "0"):
            missing.append(line)
    return missing


def _holds(marker: str) -> bool:
    """Tell whether a marker such as `python_version < "3.11"` is true here; what can't be judged here is not."""
    return any(all(map(_is_met, part.split(" and "))) for part in marker.split(" or "))


def _is_met(condition: str) -> bool:
    match = _CONDITION.fullmatch(condition)
    here = match and {
        "python_version": _minor(),
        "python_full_version": platform.python_version(),
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
    }.get(match[1])
    if not match or not here:
        return False
    read: Callable[[str], Any] = _number if match[1].startswith("python") else str
    a, b = read(here), read(match[3])
    return bool({"<": a < b, "<=": a <= b, "==": a == b, "!=": a != b, ">=": a >= b, ">": a > b}[match[2]])


class Environment:
    """The project's `.venv` and the requirements it has to meet.

    Args:
        root: the project.
        files: the requirement files.
    """

    def __init__(self, root: Path, files: list[Path]) -> None:
        self.root = root
        self.files = files
        self.lines = [line for file in files for line in _lines(file)]
        self.folder = Path(os.path.realpath(root / ".venv"))  # the user may have linked it to a larger disk
        self.python = str(self.folder / "bin" / "python")
        self._complete = self.folder / "exper-complete"
        self._unfinished = self.folder / "exper-unfinished"
        self._scratch = self.folder / "exper-scratch"

    def is_running(self) -> bool:
        """Tell whether this process runs in it."""
        return os.path.realpath(sys.prefix) == str(self.folder)

    def is_ready(self) -> bool:
        """Tell whether it is complete and was made from these requirements, or more."""
        return self._is_complete() and set(self.lines) <= set(_lines(self._complete))

    def is_users(self) -> bool:
        """Tell whether the user made it."""
        if self._complete.exists() or self._unfinished.exists():
            return False
        return self.folder.is_dir() and any(self.folder.iterdir())

    def users_python(self) -> str:
        """Return the Python of a `.venv` that the user made; what it lacks is the user's to install."""
        if not os.access(self.python, os.X_OK):
            raise Refused(f"{self.folder} is not made by Exper and holds no bin/python. Remove or rename it.")
        if self.is_running():
            pins = f" -c {self._constraints}" if self._constraints.exists() else ""
            raise Refused(
                f"{self.folder} is not made by Exper and lacks {', '.join(lacking(self.lines))}. Type:\n"
                f"{self.python} -m pip install -r {self.files[0]}{pins}\n"
                "or remove it, and Exper makes its own."
            )
        return self.python

    def make(self) -> None:
        """Make it, or bring it up to date; one process at a time, and the others wait.

        Raises:
            Refused: it could not be made.
        """
        try:
            handle = self._lock()
            try:
                if not self.is_ready():
                    self._make(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise Refused(
                f"{self.folder} can't be made: {error}.\n"
                f"Mend that, or activate an environment that has code/requirements.txt, {_AGAIN}"
            ) from None

    def _lock(self) -> int:
        from exper.core import lock  # Python 3.8 can't read it

        path = self.root / ".venv.lock"
        handle = lock.take(path)
        if handle is None:
            _say(f"another process is making {self.folder}; waiting for it")
        while handle is None:
            handle = lock.take(path, 60)
        return handle

    def _make(self, lock: int) -> None:
        started = time.monotonic()
        self._remove_leftovers()
        if self._is_complete() and self._has_installer():
            self._update(lock)
        else:
            self._make_anew(lock)
        _say(f"{self.folder} is ready after {time.monotonic() - started:.0f} s")

    def _make_anew(self, lock: int) -> None:
        self._check_means()
        self._remove()
        self.folder.mkdir()
        self._unfinished.touch()
        self._scratch.mkdir()
        try:
            if shutil.which("uv"):
                step = ["uv", "venv", "--quiet", "--allow-existing", "--python", _base_python()]
            else:
                step = [_base_python(), "-I", "-m", "venv"]
            self._start([*step, str(self.folder)], lock)
            self._install(lock)
        except BaseException as error:
            self._remove()
            if isinstance(error, KeyboardInterrupt):
                _say("stopped; what was made of it is removed")
            raise
        self._finish()

    def _update(self, lock: int) -> None:
        _say(f"code/requirements.txt has changed: bringing {self.folder} up to date")
        os.replace(self._complete, self._unfinished)
        self._scratch.mkdir(exist_ok=True)
        try:
            self._install(lock)
        except _StepFailed:  # pip and uv download all before they change anything
            shutil.rmtree(self._scratch)
            os.replace(self._unfinished, self._complete)
            raise
        self._finish()

    def _has_installer(self) -> bool:
        """Tell whether packages can be added: uv puts no pip into what it makes."""
        return shutil.which("uv") is not None or any(self.folder.glob("lib/python3*/site-packages/pip"))

    def _check_means(self) -> None:
        if not self.is_running():
            _say(f"{sys.prefix} lacks {', '.join(lacking(self.lines))}")
        free_gb = shutil.disk_usage(self.folder.parent).free / 1e9
        _say(
            f"making the Python environment {self.folder}, once: {SIZE_GB} GB of disk,"
            f" {_needed_gb()} GB until it is ready; {free_gb:.0f} GB are free"
        )
        if free_gb < _needed_gb():
            raise Refused(
                f"the disk of {self.folder} has {free_gb:.1f} GB free, {_needed_gb()} GB are needed.\n"
                f"Free some, or activate an environment that has code/requirements.txt, {_AGAIN}"
            )
        if not shutil.which("uv") and not _has_module("ensurepip"):
            raise Refused(
                f"{_base_python()} can't make environments: it has no module ensurepip.\n"
                f"On Debian or Ubuntu type: apt install python{_minor()}-venv    (or install uv), {_AGAIN}"
            )

    def _install(self, lock: int) -> None:
        if shutil.which("uv"):
            step = ["uv", "pip", "install", "--python", self.python]
        else:
            step = [self.python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        _say(f"{'uv' if 'uv' in step else 'pip'} installs {' and '.join(file.name for file in self.files)}:")
        for file in self.files:
            step += ["-r", str(file)]
        if self._constraints.exists():
            step += ["-c", str(self._constraints)]
        self._start(step, lock)

    @property
    def _constraints(self) -> Path:
        return self.root / "code" / "constraints.txt"

    def _start(self, step: list[str], lock: int) -> None:
        """Run one step, its output on stderr; pip's errors are also read.

        The step holds the lock too: a step that outlives this process is waited for, not written over.
        """
        is_pip = "pip" in step and "uv" not in step
        process = subprocess.Popen(
            step,
            cwd=self.root,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=subprocess.PIPE if is_pip else sys.stderr,
            pass_fds=(lock,),
        )
        errors = b""
        try:
            for line in process.stderr or ():
                sys.stderr.buffer.write(line)
                sys.stderr.flush()
                errors += line
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if code != 0:
            raise _StepFailed(self._reason(step[0], errors))

    def _variables(self) -> dict[str, str]:
        """Return the environment of pip and uv: large temporary files on `.venv`'s disk, and a home in any case."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables.update(TMPDIR=str(self._scratch), PIP_USER="0")
        home = os.path.expanduser("~")
        if not os.path.isabs(home) or not os.access(home, os.W_OK):
            variables["HOME"] = variables["TMPDIR"]
        return variables

    def _reason(self, program: str, errors: bytes) -> str:
        if b"No space left" in errors or b"quota exceeded" in errors or shutil.disk_usage(self.folder).free < 1e8:
            return f"the disk of {self.folder} is full. Free {_needed_gb()} GB there {_AGAIN}"
        if b"connection broken by" in errors:
            return f"pip can't reach its package index, see above. Mend the network or pip's settings {_AGAIN}"
        return f"{os.path.basename(program)} could not make {self.folder}; it says why above. Mend that {_AGAIN}"

    def _finish(self) -> None:
        shutil.rmtree(self._scratch)
        self._unfinished.write_text("".join(f"{line}\n" for line in self.lines))
        os.replace(self._unfinished, self._complete)

    def _is_complete(self) -> bool:
        # A newer system Python behind the same link finds no packages: they are in lib/python3.<old>.
        is_same_python = not self.is_running() or (self.folder / "lib" / f"python{_minor()}").is_dir()
        return self._complete.exists() and os.access(self.python, os.X_OK) and is_same_python

    def _remove(self) -> None:
        """Remove it; first renamed, so that a kill leaves no half of it under its name."""
        if self.folder.exists():
            os.replace(self.folder, tempfile.mkdtemp(prefix=".venv.old-", dir=self.folder.parent))
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for path in self.folder.parent.glob(".venv.old-*"):
            shutil.rmtree(path, ignore_errors=True)


class _StepFailed(Refused):
    pass


_AGAIN = "and type the command again."


def _say(text: str) -> None:
    print(f"exper: {text}", file=sys.stderr, flush=True)


def _needed_gb() -> int:
    return SIZE_GB if shutil.which("uv") else PIP_NEEDS_GB


def _check_python() -> None:
    if sys.version_info < _OLDEST_PYTHON:
        raise Refused(
            f"Exper needs Python 3.10 or newer; this is {sys.version.split()[0]}, {sys.executable}.\n"
            f"Put a newer python3 first on PATH, or activate an environment with one, {_AGAIN}"
        )


def _base_python() -> str:
    """Return the Python that the running environment was made from: an environment can be removed."""
    base = str(getattr(sys, "_base_executable", None) or sys.executable)
    if base == sys.executable and sys.prefix != sys.base_prefix:  # Python 3.10 and older do not tell
        return os.path.join(sys.base_prefix, "bin", f"python{_minor()}")
    return base


def _minor() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _has_module(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{file} can't be read: {error.strerror}. Type: git checkout -- {file}") from None
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _installed() -> dict[str, str]:
    """Return the distributions on sys.path with their versions; the first one found counts, as in an import."""
    found: dict[str, str] = {}
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):
                match = _INSTALLED.fullmatch(name)
                if match:
                    found.setdefault(_normal(match[1]), match[2])
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _number(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(\.[0-9]+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
