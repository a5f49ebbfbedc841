"""TensorBoard's event files, such that a continued run shows one curve, also in a TensorBoard that was running."""

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
    """This session's event file, beside the kept parts of earlier ones; without the queue and thread of SummaryWriter.

    Earlier files are cut back to `position` (None: to nothing); what follows has a step above `step`.
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
        # A running TensorBoard may have read what was cut off: this makes it forget.
        self.add(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self.add(step=step, summary=Summary(value=values))

    def add(self, **content: Any) -> None:
        """Add an event of any kind, such as a step and a summary."""
        RecordWriter(self._file).write(Event(wall_time=time.time(), **content).SerializeToString())

    def position(self) -> tuple[str, int]:
        """Return the file and the byte where the next event goes."""
        return self._name, self._file.tell()

    def close(self) -> None:
        self._file.close()


def _cut(path: Path, size: int) -> None:
    """Write the part to keep beside and rename it: cut in place, a running TensorBoard would mix old and new.

    The first record, the version, always stays: a running TensorBoard never gets past a file that is gone.
    """
    content = path.read_bytes()
    first = 16 + int.from_bytes(content[:8], "little") if content else 0
    if len(content) > max(size, first):
        files.replace(path, content[: max(size, first)])
