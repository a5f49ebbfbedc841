"""The only file that starts git: without hooks, without a network, without inherited GIT_* of another repository."""

import contextlib
import os
import pwd
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from exper.core.errors import Refused

# Inherited GIT_* (a hook's GIT_DIR, say) would point elsewhere; these say who and where the user is.
_KEPT = re.compile(
    r"GIT_(EXEC_PATH|CEILING_DIRECTORIES|DISCOVERY_ACROSS_FILESYSTEM|(AUTHOR|COMMITTER)_(NAME|EMAIL)"
    r"|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+))"
)
_GIT = (
    *("git", "--no-optional-locks", "--no-replace-objects", "--literal-pathspecs", "--no-pager"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false"),
    *("-c", "core.safecrlf=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"),
    *("-c", "status.relativePaths=false", "-c", "status.showStash=false"),
)


class GitFailed(Refused):
    """git exited with an error that is not ours (a full disk, missing rights); the text is git's own."""


def call(folder: Path, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> bytes:
    """Run git in a folder and return its output.

    Raises:
        GitFailed: it did not end with 0.
        FileNotFoundError: git is not installed.
    """
    # check-ignore takes every path literally, and refuses to be told so.
    options = [option for option in _GIT if option != "--literal-pathspecs" or words[0] != "check-ignore"]
    # A session of its own: Ctrl-C must not reach a git that is half done.
    done = subprocess.run(
        [*options, *words],
        input=stdin,
        capture_output=True,
        cwd=folder,
        env=_environment() | (env or {}),
        start_new_session=True,
    )
    if done.returncode:
        raise GitFailed(f"git {words[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def ask(folder: Path, *words: str) -> str | None:
    """Return git's output without the final newline, or None if it exits with an error."""
    try:
        return call(folder, *words).decode(errors="surrogateescape").strip()  # a name need not be UTF-8
    except GitFailed:
        return None


def blobs(folder: Path, names: Iterable[str]) -> Iterator[bytes]:
    """Yield the content of each blob by one call; stop at the first one that is missing."""
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{name}\n" for name in names).encode())
        wanted.seek(0)
        command = [*_GIT, "cat-file", "--batch", "--buffer"]
        with subprocess.Popen(
            command, stdin=wanted, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder,
            env=_environment(), start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            while len(header := process.stdout.readline().split()) == 3:
                yield process.stdout.read(int(header[2]))
                process.stdout.read(1)
            process.kill()


def identity(folder: Path) -> dict[str, str]:
    """Return the variables that tell git who commits; none if it knows by itself."""
    if ask(folder, "var", "GIT_COMMITTER_IDENT") and ask(folder, "var", "GIT_AUTHOR_IDENT"):
        return {}
    names = [os.environ.get("USER", ""), os.environ.get("LOGNAME", ""), str(os.getuid())]
    with contextlib.suppress(KeyError):
        names.insert(2, pwd.getpwuid(os.getuid()).pw_name)
    name = next(name for name in names if re.search(r"\w", name))  # git takes no name without a letter
    email = f"{name}@{socket.gethostname()}"
    author = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email}
    return author | {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email}


def enclosing(folder: Path) -> Path | None:
    """Return the top of the repository that would track a folder, which need not exist; None if none would.

    Raises:
        GitFailed: git can't tell.
    """
    parent = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    try:
        top = Path(os.fsdecode(call(parent, "rev-parse", "--show-toplevel")).removesuffix("\n"))
    except GitFailed as error:
        if "not a git repository" in str(error):
            return None
        raise
    return top if ask(parent, "check-ignore", "--quiet", "--", f"{folder}/") is None else None


def create(folder: Path, message: str) -> None:
    """Make a repository of a folder, and a first commit of all its files, also of those that the user ignores."""
    call(folder, "init", "--quiet")
    call(folder, "add", "--all", "--force")
    call(folder, "commit", "--quiet", "--no-gpg-sign", f"--message={message}", env=identity(folder))


def split_zero(answer: bytes) -> list[str]:
    """Return the paths or lines of an answer in which a zero byte ends each (-z)."""
    return [os.fsdecode(line) for line in answer.split(b"\0") if line]


def join_zero(paths: list[str]) -> bytes:
    """Return paths as git reads them with -z."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def split_lines(answer: bytes) -> list[str]:
    """Return the lines of an answer; unlike `splitlines`, it splits a name only where it has a newline."""
    return os.fsdecode(answer).split("\n")[:-1]


def encode(text: str) -> bytes:
    """Return the bytes of a text from a command line, which need not be UTF-8."""
    return text.encode(errors="surrogateescape")


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or _KEPT.fullmatch(key)}
    # No network, ever: a partial clone must not fetch, and nothing may ask for a password.
    return kept | {"LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}
