"""The project's Python environment: the active one if it meets the requirements, else `.venv`, made on first use.

Python 3.8 can read this file: it has to say that 3.10 is needed. `.venv` is built in place, because its scripts hold
its path. Two names in it tell how far it is:

    exper-unfinished    being made or changed; unless the lock is held, a killed process left it: made anew
    exper-complete      holds the requirement lines that it was made from

With neither, `.venv` is the user's own, and never changed here.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from exper.core import packages
from exper.core.errors import Refused

SIZE_GB = 6
PIP_NEEDS_GB = 9  # it keeps what it downloaded until all is installed; uv unpacks as it downloads
_OLDEST_PYTHON = (3, 10)
_MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
_AGAIN = "and type the command again."


def ensure(root: Path) -> None:
    """Return if the running Python meets the project's requirements; else start the same command under one that does.

    Raises:
        Refused: there is none and none could be made.
    """
    environment = Environment(root)
    if not environment.is_running_enough():
        python = environment.ready_python()
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(python, [python, "-I", os.path.abspath(sys.argv[0]), *sys.argv[1:]])  # noqa: S606


def for_tests(root: Path) -> str:
    """Return a Python that meets the requirements of the project and its tests, made if need be.

    Raises:
        Refused: there is none and none could be made.
    """
    environment = Environment(root, extra="dev")
    return sys.executable if environment.is_running_enough() else environment.ready_python()


class Environment:
    """The project's `.venv` and the requirements it has to meet.

    Args:
        root: the project.
        extra: a section of exper/extras.txt that it needs besides code/requirements.txt.
    """

    def __init__(self, root: Path, extra: str = "") -> None:
        self._root = root
        self._requirements = root / "code" / "requirements.txt"
        self._extra = extra
        self._extra_lines = packages.of_extra(extra) if extra else []
        self._lines = packages.requirements(self._requirements) + self._extra_lines
        self._folder = Path(os.path.realpath(root / ".venv"))  # the user may have linked it to a larger disk
        self._python = str(self._folder / "bin" / "python")
        self._complete = self._folder / "exper-complete"
        self._unfinished = self._folder / "exper-unfinished"
        self._scratch = self._folder / "exper-scratch"

    def is_running_enough(self) -> bool:
        """Tell whether the running Python meets the requirements."""
        if self._is_running() and not self._is_users():
            return self._is_ready()
        return sys.version_info >= _OLDEST_PYTHON and not packages.lacking(self._lines)

    def ready_python(self) -> str:
        """Return the Python of `.venv`, made or brought up to date if need be.

        Raises:
            Refused: it could not be made, or is the user's and lacks something.
        """
        if not self._is_ready():
            _check_version()
            if self._is_users():
                self._check_users()
            else:
                self._make_locked()
        return self._python

    def _is_running(self) -> bool:
        return os.path.realpath(sys.prefix) == str(self._folder)

    def _is_ready(self) -> bool:
        return self._is_whole() and set(self._lines) <= set(packages.requirements(self._complete))

    def _is_whole(self) -> bool:
        # A newer system Python behind the same link finds no packages: they are in lib/python3.<old>.
        is_same_python = not self._is_running() or (self._folder / "lib" / f"python{_MINOR}").is_dir()
        return self._complete.exists() and os.access(self._python, os.X_OK) and is_same_python

    def _is_users(self) -> bool:
        if self._complete.exists() or self._unfinished.exists():
            return False
        return self._folder.is_dir() and any(self._folder.iterdir())

    def _check_users(self) -> None:
        if not os.access(self._python, os.X_OK):
            raise Refused(f"{self._folder} is not made by Exper and holds no bin/python. Remove or rename it.")
        if self._is_running():
            words = [self._python, "-m", "pip", "install", *self._to_install()]
            raise Refused(
                f"{self._folder} is not made by Exper and lacks {', '.join(packages.lacking(self._lines))}. Type:\n"
                f"{shlex.join(words)}\n"
                "or remove it, and Exper makes its own."
            )

    # -- making it -----------------------------------------------------------------------------------------------------

    def _make_locked(self) -> None:
        """Make it, or bring it up to date; one process at a time, and the others wait."""
        from exper.core import lock  # Python 3.8 can't read it

        path = self._root / ".venv.lock"
        try:
            handle = lock.take(path)
            if handle is None:
                _say(f"another process is making {self._folder}; waiting for it")
            while handle is None:
                handle = lock.take(path, 60)
            try:
                if not self._is_ready():
                    self._make(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise Refused(
                f"{self._folder} can't be made: {error}.\n"
                f"Mend that, or activate an environment that has code/requirements.txt, {_AGAIN}"
            ) from None

    def _make(self, lock: int) -> None:
        started = time.monotonic()
        self._remove_old()
        if self._is_whole():
            self._update(lock)
        else:
            self._make_anew(lock)
        shutil.rmtree(self._scratch)
        self._unfinished.write_text("".join(f"{line}\n" for line in self._lines))
        os.replace(self._unfinished, self._complete)
        _say(f"{self._folder} is ready after {time.monotonic() - started:.0f} s")

    def _make_anew(self, lock: int) -> None:
        if not self._is_running():
            _say(f"{sys.prefix} lacks {', '.join(packages.lacking(self._lines))}")
        self._remove()
        self._check_disk()
        self._check_installer()
        self._folder.mkdir()
        self._unfinished.touch()
        self._scratch.mkdir()
        try:
            if uv := self._uv():
                words = [*uv, "venv", "--quiet", "--allow-existing", "--python", _base_python()]
            else:
                words = [_base_python(), "-I", "-m", "venv"]
            self._start([*words, str(self._folder)], lock)
            self._install(lock)
        except BaseException as error:
            self._remove()
            if isinstance(error, KeyboardInterrupt):
                _say("stopped; what was made of it is removed")
            raise

    def _update(self, lock: int) -> None:
        """Install what the requirements ask for into what is there."""
        _say(f"code/requirements.txt has changed: bringing {self._folder} up to date")
        self._check_installer()
        os.replace(self._complete, self._unfinished)
        self._scratch.mkdir(exist_ok=True)
        try:
            self._install(lock)
        except _StepFailed:  # pip and uv download all before they change anything
            shutil.rmtree(self._scratch)
            os.replace(self._unfinished, self._complete)
            raise

    def _check_disk(self) -> None:
        needed = self._needed_gb()
        free = shutil.disk_usage(self._folder.parent).free / 1e9
        _say(
            f"making the Python environment {self._folder}, once: {SIZE_GB} GB of disk,"
            f" {needed} GB until it is ready; {free:.0f} GB are free"
        )
        if free < needed:
            raise Refused(
                f"the disk of {self._folder} has {free:.1f} GB free, {needed} GB are needed.\n"
                f"Free some, or activate an environment that has code/requirements.txt, {_AGAIN}"
            )

    def _needed_gb(self) -> int:
        return SIZE_GB if self._uv() else PIP_NEEDS_GB

    def _check_installer(self) -> None:
        if not self._uv() and not self._has_pip() and importlib.util.find_spec("ensurepip") is None:
            raise Refused(
                f"{_base_python()} can't make environments: it has no module ensurepip.\n"
                f"On Debian or Ubuntu type: apt install python{_MINOR}-venv    (or install uv), {_AGAIN}"
            )

    def _uv(self) -> list[str]:
        """Return the words that start uv: from PATH, from the running Python or from `.venv`; none if there is none."""
        if shutil.which("uv"):
            return ["uv"]
        if importlib.util.find_spec("uv"):
            return [sys.executable, "-I", "-m", "uv"]
        own = str(self._folder / "bin" / "uv")
        return [own] if os.access(own, os.X_OK) else []

    def _has_pip(self) -> bool:  # uv puts none into what it makes
        return any(self._folder.glob("lib/python3*/site-packages/pip"))

    def _install(self, lock: int) -> None:
        uv = self._uv()
        if uv:
            words = [*uv, "pip", "install", "--python", self._python]
        else:
            words = [self._python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
            if not self._has_pip():
                self._start([self._python, "-I", "-m", "ensurepip"], lock)
        _say(f"{'uv' if uv else 'pip'} installs requirements.txt{self._extra and f' and the extra {self._extra}'}:")
        self._start([*words, *self._to_install()], lock, is_pip=not uv)

    def _to_install(self) -> list[str]:
        constraints = self._root / "code" / "constraints.txt"
        pins = ["-c", str(constraints)] if constraints.exists() else []
        return ["-r", str(self._requirements), *self._extra_lines, *pins]

    def _start(self, words: list[str], lock: int, *, is_pip: bool = False) -> None:
        """Run one step, its output on stderr; pip's errors are also read.

        The step holds the lock too: if it outlives this process, the next one waits for it.
        """
        process = subprocess.Popen(
            words,
            cwd=self._root,
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
            raise _StepFailed(self._reason(words[0], errors))

    def _variables(self) -> dict[str, str]:
        """Return the environment of pip and uv: large temporary files on `.venv`'s disk, and a home in any case."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables.update(TMPDIR=str(self._scratch), PIP_USER="0")
        home = os.path.expanduser("~")
        if not os.path.isabs(home) or not os.access(home, os.W_OK):
            variables["HOME"] = variables["TMPDIR"]
        return variables

    def _reason(self, program: str, errors: bytes) -> str:
        if b"No space left" in errors or b"quota exceeded" in errors or shutil.disk_usage(self._folder).free < 1e8:
            return f"the disk of {self._folder} is full. Free {self._needed_gb()} GB there {_AGAIN}"
        if b"connection broken by" in errors:
            return f"pip can't reach its package index, see above. Mend the network or pip's settings {_AGAIN}"
        return f"{os.path.basename(program)} could not make {self._folder}; it says why above. Mend that {_AGAIN}"

    def _remove(self) -> None:
        """Remove it; first renamed, so that a kill leaves no half of it under its name."""
        if self._folder.exists():
            os.replace(self._folder, tempfile.mkdtemp(prefix=".venv.old-", dir=self._folder.parent))
        self._remove_old()

    def _remove_old(self) -> None:
        for path in self._folder.parent.glob(".venv.old-*"):
            shutil.rmtree(path, ignore_errors=True)


class _StepFailed(Refused):
    pass


def _say(text: str) -> None:
    print(f"exper: {text}", file=sys.stderr, flush=True)


def _check_version() -> None:
    if sys.version_info < _OLDEST_PYTHON:
        raise Refused(
            f"Exper needs Python 3.10 or newer; this is {sys.version.split()[0]}, {sys.executable}.\n"
            f"Put a newer python3 first on PATH, or activate an environment with one, {_AGAIN}"
        )


def _base_python() -> str:
    """Return the Python that the running environment was made from: an environment can be removed."""
    base = str(getattr(sys, "_base_executable", None) or sys.executable)
    if base == sys.executable and sys.prefix != sys.base_prefix:  # Python 3.10 and older do not tell
        return os.path.join(sys.base_prefix, "bin", f"python{_MINOR}")
    return base
