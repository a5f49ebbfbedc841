"""TensorBoard's event files, such that a run that was continued shows one curve, also in a running TensorBoard."""

import os
import platform
import struct
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from exper import files


class Events:
    """One event file of this session, beside the kept parts of earlier ones.

    tensorboard's own record writer, without the queue and thread of SummaryWriter: forked workers inherit no thread,
    and the file has a known byte offset.
    """

    def __init__(self, folder: Path, position: list[str | int] | None, step: int) -> None:
        """Cut earlier files back to `position` (None: to nothing) and open a new one for what follows `step`."""
        folder.mkdir(exist_ok=True)
        earlier = sorted(folder.glob("events.out.tfevents.*"))
        name, offset = position or ("", 0)
        for path in earlier:
            if path.name >= str(name):
                _cut(path, max(int(offset) if path.name == name else 0, _first_record_end(path)))
        newest = max((int(path.name.split(".")[3]) for path in earlier), default=0)
        seconds = max(int(time.time()), newest + 1)  # readers take files in the order of their names
        self._path = folder / f"events.out.tfevents.{seconds:010d}.{platform.node() or 'host'}.{os.getpid()}"
        self._file = open(self._path, "ab", buffering=0)
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # A running TensorBoard may have read what was cut: this tells it to forget that.
        self._write(Event(wall_time=time.time(), step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add one point to each curve."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def position(self) -> list[str | int]:
        """Return the file and the byte at which the next event goes."""
        return [self._path.name, self._file.tell()]

    def close(self) -> None:
        self._file.close()


def _first_record_end(path: Path) -> int:
    """Return the size of the first record, which holds the version; a file is never left without or deleted.

    A running TensorBoard would not get past a file that is gone.
    """
    with open(path, "rb") as file:
        head = file.read(8)
    return 8 + 4 + struct.unpack("<Q", head)[0] + 4 if len(head) == 8 else 0


def _cut(path: Path, size: int) -> None:
    """Write the kept part beside and rename it: cut in place, a running TensorBoard would mix old and new."""
    if path.stat().st_size > size:
        with open(path, "rb") as file:
            files.replace(path, file.read(size))
