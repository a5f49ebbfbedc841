"""TensorBoard's event files. A continued run shows a single curve, also in a TensorBoard that was already running."""

import os
import platform
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from exper.core import files


class Events:
    """The event file of this session, written without SummaryWriter's queue and thread.

    The files of earlier sessions are cut back to `position` (None: to nothing); later events have a step above `step`.
    """

    def __init__(self, folder: Path, position: tuple[str, int] | None, step: int) -> None:
        folder.mkdir(exist_ok=True)
        earlier = sorted(folder.glob("events.out.tfevents.*"))
        name, offset = position or ("", 0)
        for path in earlier:
            if path.name >= name:
                _cut(path, offset if path.name == name else 0)
        newest = max((int(path.name.split(".")[3]) for path in earlier), default=0)
        seconds = max(int(time.time()), newest + 1)  # readers go by the order of names
        self._name = f"events.out.tfevents.{seconds:010d}.{platform.node() or 'host'}.{os.getpid()}"
        self._file = open(folder / self._name, "wb", buffering=0)
        self.add(file_version="brain.Event:2")
        # This makes a running TensorBoard forget the events that were cut off, which it may have read.
        self.add(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self.add(step=step, summary=Summary(value=values))

    def add(self, **content: Any) -> None:
        """Add an event of any kind, such as a step and a summary."""
        RecordWriter(self._file).write(Event(wall_time=time.time(), **content).SerializeToString())

    def position(self) -> tuple[str, int]:
        """Return the file's name and the offset of the next event."""
        return self._name, self._file.tell()

    def close(self) -> None:
        self._file.close()


def _cut(path: Path, size: int) -> None:
    """Replace the file by its first `size` bytes; cut in place, a running TensorBoard would mix old and new events.

    The first record, the version, is always kept: a running TensorBoard never gets past a file that is gone.
    """
    content = path.read_bytes()
    first = 16 + int.from_bytes(content[:8], "little") if content else 0
    if len(content) > max(size, first):
        files.replace(path, content[: max(size, first)])
