"""Checkpoints: files that torch.load opens, whose end proves them whole, and which of them are kept."""

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


class Checkpoints:
    """The folder checkpoint/ of a run, with the arguments of config.py's `checkpoint`."""

    def __init__(
        self,
        folder: Path,
        every: Count = 1,  # epochs; the last and the best one always get a checkpoint
        every_steps: Count | None = None,
        every_minutes: Positive | None = None,
        keep: Count | None = 2,  # epochs; None: all. The best, and the newest two that verify, always stay
        background: bool = False,  # write in a thread: training stands still only while the state is copied
    ) -> None:
        self._folder, self._keep = folder, keep
        self._every, self._every_steps, self._every_minutes = every, every_steps, every_minutes
        self._saved_at, self._is_late = time.monotonic(), Agreement()
        self._whole: set[str] = set()  # written or verified by this process
        self._thread = ThreadPoolExecutor(1) if background else None  # starts with the first job
        self._job: Future[None] | None = None
        self._copy: Any = None

    def is_due(self, epoch: int, batch: int) -> bool:
        """Tell whether to save when `batch` batches of an epoch are done; 0: when `epoch` epochs are."""
        if not batch:
            return epoch % self._every == 0
        by_time = self._every_minutes and self._is_late.largest(
            time.monotonic() - self._saved_at >= 60 * self._every_minutes
        )
        return bool(by_time or (self._every_steps and batch % self._every_steps == 0))

    def save(self, content: dict[str, Any], best: int | None) -> None:
        """Write `content` under the name of its epoch and step, in the first process; the epoch `best` is kept."""
        self.wait()
        self._saved_at = time.monotonic()
        self._is_late.forget()  # or several processes would save at the next step again
        if not rank.is_first():
            return
        inside = f"_step_{content['step']}" if content["batch"] else ""
        name = f"epoch_{content['epoch']}{inside}.path"
        if name in self._whole:
            return
        if self._thread is None:
            self._write(name, content, best)
        else:
            self._copy = _copied(content, self._copy)
            self._job = self._thread.submit(self._write, name, self._copy, best)

    def wait(self) -> None:
        """Wait until all is on the disk; an error of the thread is raised here."""
        if self._job is not None:
            self._job.result()

    def newest(self) -> dict[str, Any] | None:
        """Return the newest checkpoint that verifies; None: there is none."""
        self.wait()
        for leftover in self._folder.glob(".*"):
            if leftover.name == ".link" or ".path." in leftover.name:  # of a kill while writing
                leftover.unlink()
        return next((self._load(name) for name in names(self._folder) if self._verify(name)), None)

    def epochs(self) -> list[int]:
        """Return the epochs after which there is a checkpoint, in order."""
        return sorted(int(match[1]) for match in map(NAME.fullmatch, names(self._folder)) if match and not match[2])

    def of_epoch(self, epoch: int) -> dict[str, Any] | None:
        """Return the checkpoint after `epoch` epochs; None: it is missing or corrupt."""
        self.wait()
        name = f"epoch_{epoch}.path"
        return self._load(name) if self._verify(name) else None

    def _load(self, name: str) -> Any:
        path = self._folder / name
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            kinds = ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or "what it does not know"
            hint = "Have metrics and modules keep numbers, tensors, lists and dicts."
            raise RuntimeError(f"{path}: torch.load refuses {kinds}. {hint}") from None

    def _verify(self, name: str) -> bool:
        """Tell whether a checkpoint is there and whole; a corrupt one is renamed and named aloud."""
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
        for link, target in (("epoch_last.path", name), ("epoch_best.path", f"epoch_{best}.path")):
            if target != "epoch_None.path":
                (self._folder / ".link").symlink_to(target)
                os.replace(self._folder / ".link", self._folder / link)
        self._drop(best)

    def _drop(self, best: int | None) -> None:
        """Remove what need not be kept."""
        there = names(self._folder)
        kept = {f"epoch_{best}.path", *[name for name in there if "step" not in name][: self._keep]}
        whole = 0
        for name in there:
            if whole < 2:
                whole += name in self._whole or self._verify(name)
            elif name not in kept:
                os.unlink(self._folder / name)


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256, self.flush = file, hashlib.sha256(), file.flush

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write plain dicts, lists and tensors as torch.save does, with a footer; make the folder if need be."""
    path.parent.mkdir(exist_ok=True)
    with files.replacing(path) as file:
        hashing = _Hashing(file)
        torch.save(content, hashing)  # type: ignore[arg-type]
        file.write(footer(hashing.sha256.digest(), file.tell()))


def _copied(value: Any, kept: Any) -> Any:
    """Copy a state into memory of its own: that of an earlier copy, where it fits."""
    if isinstance(value, torch.Tensor):
        fits = isinstance(kept, torch.Tensor) and (kept.shape, kept.dtype) == (value.shape, value.dtype)
        return (kept if fits else torch.empty_like(value, device="cpu")).copy_(value.detach())
    if isinstance(value, dict):
        return {key: _copied(item, kept.get(key) if isinstance(kept, dict) else None) for key, item in value.items()}
    if isinstance(value, list | tuple):
        olds = kept if isinstance(kept, list | tuple) and len(kept) == len(value) else [None] * len(value)
        return type(value)(map(_copied, value, olds))
    return value
