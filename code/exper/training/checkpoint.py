"""Checkpoints: files that torch.load opens, whose end proves that they are whole, and which of them are kept."""

import hashlib
import os
import re
import struct
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import torch

from exper import files
from exper.error import Refused

_NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?\.path")
# torch.load ignores what follows its archive; alone it would not notice a flipped bit (measured).
_FOOTER = struct.Struct("<8s32sQ")  # magic, sha256 of what precedes, its length
_MAGIC = b"EXPER256"


class Checkpoints:
    """The folder checkpoint/ of a run.

    Args:
        folder: where they are.
        every: epochs between two checkpoints; the last and the best epoch always get one.
        every_steps: steps between two inside an epoch, or None.
        every_minutes: minutes between two inside an epoch, or None.
        keep: how many epochs' checkpoints stay; None: all. The best, and the newest two that verify, always do.
        background: write in a thread; training stands still only while the state is copied.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int = 1,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        keep: int | None = 2,
        background: bool = False,
    ) -> None:
        for name, value in (("every", every), ("every_steps", every_steps), ("every_minutes", every_minutes)):
            if value is not None and value <= 0:
                raise Refused(f"checkpoint.{name} = {value}: must be above 0.")
        if keep is not None and keep < 0:
            raise Refused(f"checkpoint.keep = {keep}: write how many stay, or None for all.")
        self._folder, self._keep = folder, keep
        self._every, self._every_steps, self._every_minutes = every, every_steps, every_minutes
        self._saved_at = time.monotonic()
        self._whole: set[str] = set()  # names that this process has written or verified
        self._thread = ThreadPoolExecutor(1, "checkpoint") if background else None
        self._writing: Future[None] | None = None
        self._buffers: Any = None

    def is_due(self, batch: int) -> bool:
        """Tell whether to save after `batch` batches of an epoch."""
        by_steps = self._every_steps is not None and batch % self._every_steps == 0
        minutes = (time.monotonic() - self._saved_at) / 60
        return by_steps or (self._every_minutes is not None and minutes >= self._every_minutes)

    def is_due_after(self, epoch: int) -> bool:
        """Tell whether to save after `epoch` epochs."""
        return epoch % self._every == 0

    def save(self, content: dict[str, Any], best: int | None) -> None:
        """Write `content` under the name of its `epoch` and `step`, then drop what need not be kept.

        Args:
            content: plain dicts, lists and tensors.
            best: the epoch whose checkpoint is the best so far.
        """
        self.wait()
        name = f"epoch_{content['epoch']}.path"
        if content["batch"]:
            name = f"epoch_{content['epoch']}_step_{content['step']}.path"
        self._saved_at = time.monotonic()
        if name in self._whole:
            return
        if self._thread is None:
            self._write(name, content, best)
        else:
            self._buffers = _copy(content, self._buffers)
            self._writing = self._thread.submit(self._write, name, self._buffers, best)

    def save_crash(self, content: dict[str, Any]) -> None:
        """Write the broken state after an exception, for looking at; nothing ever continues from it."""
        _write_file(self._folder / "crash.path", content)

    def wait(self) -> None:
        """Wait until what was saved is on the disk; an error there is raised here."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        self.wait()
        if self._thread is not None:
            self._thread.shutdown()

    def newest(self) -> dict[str, Any] | None:
        """Return the content of the newest checkpoint that verifies, or None; call it once, before saving."""
        self._folder.mkdir(exist_ok=True)
        for leftover in self._folder.glob(".*"):  # a kill while writing
            leftover.unlink()
        found = (self._load(name) for name in self._names())
        return next((content for content in found if content is not None), None)

    def of_epoch(self, epoch: int) -> dict[str, Any] | None:
        """Return the content of the checkpoint after `epoch` epochs, or None if it is missing or corrupt."""
        self.wait()
        return self._load(f"epoch_{epoch}.path")

    def _load(self, name: str) -> dict[str, Any] | None:
        if not self._verify(name):
            return None
        content: dict[str, Any] = torch.load(self._folder / name, map_location="cpu", weights_only=True)
        return content

    def _verify(self, name: str) -> bool:
        """Tell whether the file is there and whole; a corrupt one is renamed and named aloud."""
        path = self._folder / name
        if not path.exists():
            return False
        if not is_whole(path):
            print(f"{path} is corrupt: renamed to {name}.corrupt")
            os.replace(path, f"{path}.corrupt")
            self._whole.discard(name)
            return False
        self._whole.add(name)
        return True

    def _names(self) -> list[str]:
        """Return the names of all checkpoints, the newest first."""
        matches = [match for match in map(_NAME.fullmatch, os.listdir(self._folder)) if match]
        return [match[0] for match in sorted(matches, key=lambda m: (int(m[1]), int(m[2] or 0)), reverse=True)]

    def _write(self, name: str, content: dict[str, Any], best: int | None) -> None:
        _write_file(self._folder / name, content)
        self._whole.add(name)
        self._link("epoch_last.path", name)
        if best is not None:
            self._link("epoch_best.path", f"epoch_{best}.path")
        self._drop(best)

    def _link(self, link: str, name: str) -> None:
        beside = self._folder / f".{link}"
        beside.unlink(missing_ok=True)
        beside.symlink_to(name)
        os.replace(beside, self._folder / link)

    def _drop(self, best: int | None) -> None:
        """Remove what neither `keep`, nor the best, nor the newest two that verify need."""
        names = self._names()
        epochs = [name for name in names if "_step_" not in name]
        kept = {f"epoch_{best}.path", *epochs[: self._keep]}
        whole = 0
        for name in names:
            if whole < 2 and (name in self._whole or self._verify(name)):
                whole += 1
            elif name not in kept:
                (self._folder / name).unlink(missing_ok=True)
                self._whole.discard(name)


class _Hashing:
    """Hash what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256, self._length = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self._length += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def footer(self) -> bytes:
        return _FOOTER.pack(_MAGIC, self._sha256.digest(), self._length)


def _write_file(path: Path, content: dict[str, Any]) -> None:
    """Write `content` beside, and rename it when it is on the disk."""
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            hashing = _Hashing(file)
            torch.save(content, hashing)
            file.write(hashing.footer())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    files.sync_folder(path.parent)


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint's footer is there and true."""
    with open(path, "rb") as file:
        length = file.seek(0, os.SEEK_END) - _FOOTER.size
        if length < 0:
            return False
        file.seek(length)
        magic, digest, stated = _FOOTER.unpack(file.read())
        if magic != _MAGIC or stated != length:
            return False
        file.seek(0)
        sha256 = hashlib.sha256()
        while length > 0:
            piece = file.read(min(length, 1 << 20))
            sha256.update(piece)
            length -= len(piece)
    return bool(sha256.digest() == digest)


def _copy(value: Any, kept: Any) -> Any:
    """Copy a state to memory of its own, into the tensors of an earlier copy where they fit."""
    if isinstance(value, torch.Tensor):
        fits = isinstance(kept, torch.Tensor) and (kept.shape, kept.dtype) == (value.shape, value.dtype)
        return (kept if fits else torch.empty_like(value, device="cpu")).copy_(value.detach())
    if isinstance(value, dict):
        old = kept if isinstance(kept, dict) else {}
        return {key: _copy(item, old.get(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        old = kept if isinstance(kept, list | tuple) and len(kept) == len(value) else [None] * len(value)
        return type(value)(_copy(item, before) for item, before in zip(value, old, strict=True))
    return value
