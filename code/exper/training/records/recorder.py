"""The numbers of a run: statistic.json, history.jsonl, and TensorBoard's curves."""

import contextlib
import json
import os
from typing import Any

from exper.config import logger_registry
from exper.core import files, paths
from exper.sidecars import history_picture
from exper.sidecars.process import Sidecar
from exper.training.records import media
from exper.training.records.hardware import Hardware, Numbers


class Recorder:
    """Write the numbers of training; one call writes a number everywhere."""

    def __init__(self, run: paths.Run, logger: list[Any]) -> None:
        self.logger = [component["name"] for component in logger_registry.named(logger)]
        logger_registry.check(logger)
        self._sends = logger_registry.sending(logger) if run.is_numbered else []
        if self._sends:
            from exper.sidecars import loggers as kinds  # a trial of a search compiles what it imports

            for component in self._sends:
                kinds.check(component)
        self._run = run
        self.events: Any = None  # TensorBoard's, if it is wanted
        self._sidecars: list[tuple[Sidecar, float]] = []  # and the seconds that each may delay the end
        self._hardware: Hardware | None = None
        self._metric: dict[str, Any] = {"last": {}, "best": {}, "test": {}}

    def start(
        self, about: dict[str, Any], saved: dict[str, Any] | None, step: int, hardware: Hardware | None = None
    ) -> None:
        """Open the files, and start the sidecars and the recording of hardware.

        Args:
            about: the sections of statistic.json beside metrics.
            saved: the `state_dict` in a checkpoint taken after `step`, to which all files are cut back; None: to empty.
            step: the optimizer steps taken so far.
            hardware: records the use of the machine.
        """
        self._about = about
        self._hardware = hardware
        saved = saved or {"history": 0, "events": None, "metric": self._metric}
        self._metric = saved["metric"]
        self._history = files.open_to_append(self._run.history)
        lost = saved["history"] - self._history.tell()
        if lost > 0:
            print(f"{self._run.history} has lost its last {lost} bytes; history continues after the gap")
        else:
            self._history.truncate(saved["history"])
        if "tensorboard" in self.logger:
            from exper.training.records.event_file import Events  # imported only where it is installed

            self.events = Events(self._run.tensorboard, saved["events"], step)
        self._replace()
        if hardware is not None:
            hardware.begin(self._show_hardware)
        if "picture" in self.logger:
            drawing = Sidecar(history_picture.__file__, self._run.folder, "history.png")
            self._sidecars.append((drawing, history_picture.MIN_PAUSE_SECONDS))
        if self._sends:
            from exper.sidecars import sender

            sending = Sidecar(sender.__file__, self._run.folder, "loggers that send")
            self._sidecars.append((sending, sender.LAST_SECONDS + 2))

    def _show_hardware(self, step: int, numbers: Numbers) -> None:
        if self.events is not None:
            # TensorBoard opens the first two groups by the alphabet: lr and train, as long as this one comes later.
            self.events.write(step, {f"usage/{name}": value for name, value in numbers.items()})

    def add(self, line: dict[str, Any]) -> None:
        """Add a line to history; lr, and names with a slash, are points of TensorBoard's curves as well."""
        self._history.write(json.dumps(line).encode() + b"\n")
        self._history.flush()
        if self.events is not None:
            self.events.write(line["step"], {name: line[name] for name in line if "/" in name or name == "lr"})

    def end_epoch(self, line: dict[str, Any], best: dict[str, Any]) -> None:
        """Add an epoch's line to history, and update statistic.json."""
        self.add(line)
        self._metric |= {"last": _results(line), "best": _results(best)}
        self._replace()

    def end_test(self, line: dict[str, Any]) -> None:
        """Record the test, with which training ends; its `epoch` is that of the tested weights."""
        if self._hardware is not None:
            self._hardware.close()
        self._metric |= {"test": line}
        self._replace()

    def _replace(self) -> None:
        peak = {} if self._hardware is None else {"peak": self._hardware.peak}
        files.write_json(self._run.statistic, self._about | {"metric": self._metric} | peak)

    def show(self, step: int, name: str, value: Any) -> None:
        """Keep a text, an image or a figure, for TensorBoard and other loggers; one of a name at each step."""
        path = media.write(self._run.shown, step, name, value)
        if self.events is not None:
            self.events.add(step=step, summary=media.summary(name, path))

    def state_dict(self) -> dict[str, Any]:
        """Return the sizes of the files, for `start`; history up to there has reached the disk."""
        os.fsync(self._history.fileno())
        events = None if self.events is None else self.events.position()
        return {"history": self._history.tell(), "events": events, "metric": self._metric | {"test": {}}}

    def close(self) -> None:
        if self._hardware is not None and not self._hardware.is_over:
            self._hardware.close()
            with contextlib.suppress(OSError):  # an earlier failure is what counts
                self._replace()
        self._history.close()
        if self.events is not None:
            self.events.close()
        for program, seconds in self._sidecars:
            said = program.close(seconds)
            if said:
                print(said)


def text(line: dict[str, Any], epochs: int) -> str:
    """Return an epoch's line for people: `epoch  3/10  train/loss 0.2113  …  lr 0.001  1.2 s`."""
    shown = [f"{name} {value:.4g}" for name, value in line.items() if "/" in name or name == "lr"]
    return "  ".join([f"epoch {line['epoch']:{len(str(epochs))}}/{epochs}", *shown, f"{line['seconds']:.1f} s"])


def test_text(values: dict[str, float], epoch: int) -> str:
    """Return the test's line for people: `test of epoch 7: test/loss 0.2113  test/acc 0.9812`."""
    return f"test of epoch {epoch}: " + "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _results(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if "/" in name or name == "epoch"}
