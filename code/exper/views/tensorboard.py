"""TensorBoard in this process, on a folder of links to the chosen runs, each under the name `tag/id`."""

import contextlib
import http.client
import io
import os
import shutil
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from exper.core import lock, paths
from exper.core.errors import Refused

_LEAST_PAUSE_SECONDS = 2.0
_ANSWER_SECONDS = 30.0
_ATTEMPTS = 3
_PREFIX = "exper-tensorboard-"
_LOCK = ".lock"  # no tag has this name
_OLD_SECONDS = 60.0

Choose = Callable[[], list[paths.Run]]


class Links:
    """A folder with a link `<tag>/<id>` to the event files of each chosen run; TensorBoard sees nothing else."""

    def __init__(self, folder: Path) -> None:
        """Begin with an empty folder."""
        self.folder = folder
        self._made: set[str] = set()

    def update(self, runs: list[paths.Run]) -> None:
        """Add links to new runs, and remove those of other runs."""
        wanted = {str(run): run.tensorboard for run in runs}
        for name in self._made - set(wanted):
            (self.folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (self.folder / name).parent.rmdir()
        self._made = set(wanted)
        for name, target in wanted.items():
            link = self.folder / name
            if not os.path.islink(link):  # new, or a cleaner of temporary files has removed it
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)


@contextlib.contextmanager
def serving(choose: Choose, flags: list[str]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve the runs that `choose` returns; yield the address, once it answers, and a function that updates the links.

    Raises:
        Refused: TensorBoard rejects these flags, is not installed, or the port is taken.
    """
    with _temporary() as folder, _children_ended():
        links = Links(folder)
        links.update(choose())
        address = _launch(str(folder), choose, flags)
        _wait_for_answer(address)
        yield address, lambda: links.update(choose())


def keep(update: Callable[[], None], is_over: Callable[[], bool] = lambda: False) -> None:
    """Keep the links up to date; the pause grows with the time that an update takes, to 2 % of a core at most."""
    while not is_over():
        started = time.monotonic()
        with contextlib.suppress(OSError):  # the next update may succeed
            update()
        time.sleep(max(_LEAST_PAUSE_SECONDS, 50 * (time.monotonic() - started)))


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    """Yield a temporary folder; also remove those that killed processes have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            about = path.lstat()
            is_old = time.time() - about.st_mtime > _OLD_SECONDS  # a new folder may have no lock yet
            if is_old and about.st_uid == os.getuid() and not lock.is_held(path / _LOCK):
                shutil.rmtree(path)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        held = lock.take(Path(name, _LOCK))
        try:
            yield Path(name)
        finally:
            if held is not None:
                os.close(held)


def _launch(folder: str, choose: Choose, flags: list[str]) -> str:
    """Start TensorBoard in threads of this process; return its address."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):  # notes about its loader, and argparse's usage
        board = _configured(folder, choose, flags, said)
        for _ in range(_ATTEMPTS):
            try:
                return str(board.launch())
            except SystemExit:  # another process took the port since it was checked
                continue
            except Exception as error:
                if not hasattr(error, "msg"):  # of a TensorBoardServerException
                    raise
                raise Refused(f"{error.msg}. Leave out --port for the next free one.") from None
    raise Refused(f"TensorBoard can't serve with {' '.join(flags)!r}: {_last_line(said)}.")


def _configured(folder: str, choose: Choose, flags: list[str], said: io.StringIO) -> Any:
    """Return a TensorBoard that is ready to launch."""
    _check(flags)
    try:
        from tensorboard import default, program

        from exper.views import hparams

        board = program.TensorBoard([hparams.in_place_of(plugin, choose) for plugin in default.get_plugins()])
        board.configure(["", *flags, f"--logdir={folder}"])
    except ImportError as error:
        raise Refused(f"TensorBoard can't be imported: {error}. Type: pip install tensorboard") from None
    except ValueError as error:  # a FlagsError
        raise Refused(f"{error}. TensorBoard's flags: itb -- --help") from None
    except SystemExit as error:
        if not error.code:  # --help
            raise
        raise Refused(f"{_last_line(said)}. TensorBoard's flags: itb -- --help") from None
    return board


def _last_line(said: io.StringIO) -> str:
    return (said.getvalue().strip().splitlines() or ["it gave no reason"])[-1]


def _check(flags: list[str]) -> None:
    """Refuse flags that conflict with the choice of runs."""
    wrong = [flag for flag in flags if flag.startswith(("--logdir", "--db", "--inspect", "--version"))]
    if wrong:
        raise Refused(f"{wrong[0]} has no meaning here: name the runs to show, then -- and other flags of TensorBoard.")


def _wait_for_answer(address: str) -> None:
    deadline = time.monotonic() + _ANSWER_SECONDS
    while not _answers(address):
        if time.monotonic() > deadline:
            raise Refused(f"TensorBoard has not answered at {address} for {_ANSWER_SECONDS:.0f} s.")
        time.sleep(0.05)


def _answers(address: str) -> bool:
    url = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname or "localhost", url.port, timeout=10)  # past any proxy
    try:
        connection.request("GET", url.path + "data/environment")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _children_ended() -> Iterator[None]:
    """Kill TensorBoard's data server at the end of the block."""
    before = psutil.Process().children()
    try:
        yield
    finally:
        children = [child for child in psutil.Process().children(recursive=True) if child not in before]
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, timeout=5)
