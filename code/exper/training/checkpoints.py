"""Checkpoints: files that torch.load opens and whose footer proves them whole, and the choice of those to keep."""

import hashlib
import os
import pickle
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import torch

from exper.core import files
from exper.core.checkpoint_file import NAME, footer, is_whole, names
from exper.core.components import Count, Positive
from exper.training.distributed import rank
from exper.training.distributed.collective import Agreement

_MIN_WHOLE = 2  # the newest that verify are always kept


class Checkpoints:
    """The folder checkpoint/ of a run, with the arguments of config.py's `checkpoint`."""

    def __init__(
        self,
        folder: Path,
        *,
        every: Count = 1,  # epochs; the last and the best epoch always get a checkpoint
        every_steps: Count | None = None,
        every_minutes: Positive | None = None,
        keep: Count | None = 2,  # epochs; None: all. The best, and the newest two that verify, are always kept
        background: bool = False,  # write in a thread: training waits only while the state is copied
    ) -> None:
        self._folder = folder
        self._every = every
        self._every_steps = every_steps
        self._every_minutes = every_minutes
        self._keep = keep
        self._saved_at = time.monotonic()
        self._is_late = Agreement()
        self._whole: set[str] = set()  # names of those that this process has written or verified
        self._thread = ThreadPoolExecutor(1) if background else None  # starts with the first job
        self._job: Future[None] | None = None
        self._copy: Any = None

    def is_due(self, epoch: int, batch: int) -> bool:
        """Tell whether to save after `batch` batches of an epoch, or with 0 after `epoch` epochs."""
        if not batch:
            return epoch % self._every == 0
        by_time = self._every_minutes and self._is_late.largest(
            time.monotonic() - self._saved_at >= 60 * self._every_minutes
        )
        return bool(by_time or (self._every_steps and batch % self._every_steps == 0))

    def save(self, content: dict[str, Any], best: int | None) -> None:
        """Write `content`, in the first process, under the name of its epoch and step; the epoch `best` is kept."""
        self.wait()
        self._saved_at = time.monotonic()
        self._is_late.forget()  # or several processes would save again at the next step
        if not rank.is_first():
            return
        step = f"_step_{content['step']}" if content["batch"] else ""
        name = f"epoch_{content['epoch']}{step}.path"
        if name in self._whole:
            return
        if self._thread is None:
            self._write(name, content, best)
        else:
            self._copy = _copied(content, self._copy)
            self._job = self._thread.submit(self._write, name, self._copy, best)

    def wait(self) -> None:
        """Wait until everything is on disk; raise the error of the writing thread, if any."""
        if self._job is not None:
            self._job.result()

    def newest(self) -> dict[str, Any] | None:
        """Return the newest checkpoint that verifies, if there is any."""
        self.wait()
        for leftover in self._folder.glob(".*"):
            if leftover.name == ".link" or ".path." in leftover.name:  # of a kill while writing
                leftover.unlink()
        return next((self._load(name) for name in names(self._folder) if self._verify(name)), None)

    def epochs(self) -> list[int]:
        """Return the numbers of epochs after which there is a checkpoint, in order."""
        return sorted(int(match[1]) for match in map(NAME.fullmatch, names(self._folder)) if match and not match[2])

    def of_epoch(self, epoch: int) -> dict[str, Any] | None:
        """Return the checkpoint after `epoch` epochs, or None if it is missing or corrupt."""
        self.wait()
        name = f"epoch_{epoch}.path"
        return self._load(name) if self._verify(name) else None

    def _load(self, name: str) -> Any:
        path = self._folder / name
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            refused = ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or "an unknown object"
            hint = "Have metrics and modules keep numbers, tensors, lists and dicts."
            raise RuntimeError(f"{path}: torch.load refuses {refused}. {hint}") from None

    def _verify(self, name: str) -> bool:
        """Tell whether a checkpoint exists and is whole; rename a corrupt one and print its name."""
        path = self._folder / name
        if not path.exists():
            return False
        if is_whole(path):
            self._whole.add(name)
            return True
        print(f"{path} is corrupt; it is now {name}.corrupt")
        os.replace(path, f"{path}.corrupt")
        return False

    def _write(self, name: str, content: dict[str, Any], best: int | None) -> None:
        write(self._folder / name, content)
        self._whole.add(name)
        self._link("epoch_last.path", name)
        if best is not None:
            self._link("epoch_best.path", f"epoch_{best}.path")
        self._remove_old(best)

    def _link(self, link: str, target: str) -> None:
        (self._folder / ".link").symlink_to(target)
        os.replace(self._folder / ".link", self._folder / link)

    def _remove_old(self, best: int | None) -> None:
        newest_first = names(self._folder)
        kept = {f"epoch_{best}.path", *[name for name in newest_first if "step" not in name][: self._keep]}
        whole = 0
        for name in newest_first:
            if whole < _MIN_WHOLE:
                whole += name in self._whole or self._verify(name)
            elif name not in kept:
                os.unlink(self._folder / name)


class _Hashing:
    """A file that hashes the data written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.flush = file.flush

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write plain dicts, lists and tensors with torch.save, and a footer; create the folder if it is missing."""
    path.parent.mkdir(exist_ok=True)
    with files.replacing(path) as file:
        hashing = _Hashing(file)
        torch.save(content, hashing)  # type: ignore[arg-type]
        file.write(footer(hashing.sha256.digest(), file.tell()))


def _copied(value: Any, earlier: Any) -> Any:
    """Copy a state to the CPU, into the memory of an earlier copy where shape and type agree."""
    if isinstance(value, torch.Tensor):
        fits = isinstance(earlier, torch.Tensor) and (earlier.shape, earlier.dtype) == (value.shape, value.dtype)
        return (earlier if fits else torch.empty_like(value, device="cpu")).copy_(value.detach())
    if isinstance(value, dict):
        before = earlier if isinstance(earlier, dict) else {}
        return {key: _copied(item, before.get(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        fits = isinstance(earlier, list | tuple) and len(earlier) == len(value)
        return type(value)(map(_copied, value, earlier if fits else [None] * len(value)))
    return value
