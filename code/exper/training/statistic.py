"""The numbers of a run: statistic.json, history.jsonl, and TensorBoard's curves."""

import json
import os
from typing import Any

from exper import files, paths
from exper.training import parts

LOGGER = ("tensorboard",)


def check(logger: list[str]) -> None:
    """Refuse loggers that there are not."""
    for name in logger:
        if name not in LOGGER:
            raise parts.unknown("logger", name, LOGGER)


class Statistic:
    """Write what training finds out; every number goes to all places with one call.

    Args:
        run: the files to write.
        about: what statistic.json holds beside metrics: format, hparam, data, device.
        logger: loggers by name.
    """

    def __init__(self, run: paths.Run, about: dict[str, Any], logger: list[str]) -> None:
        self._run = run
        self._about = about
        self._logger = logger
        self._metric: dict[str, Any] = {"last": {}, "best": {}, "test": {}}

    def start(self, saved: dict[str, Any] | None, step: int) -> None:
        """Go on from `saved`, the `state_dict` of a checkpoint taken after `step`; None: from nothing."""
        saved = saved or {"history": 0, "events": None, "metric": self._metric}
        self._metric = saved["metric"]
        self._history = files.open_to_append(self._run.history)
        self._cut_history(saved["history"])
        self._events = None
        if "tensorboard" in self._logger:
            from exper.training.tensorboard import Events

            self._events = Events(self._run.tensorboard, saved["events"], step)
        self._replace()

    def _cut_history(self, size: int) -> None:
        missing = size - self._history.tell()
        if missing > 0:
            print(f"{self._run.history} lacks its last {missing} bytes: lines before this one are lost")
        else:
            self._history.truncate(size)

    def add(self, values: dict[str, Any]) -> None:
        """Add one line to history, and its numbers to the curves: those whose name has a slash, and lr."""
        self._history.write(json.dumps(values).encode() + b"\n")
        self._history.flush()
        if self._events is not None:
            curves = {name: value for name, value in values.items() if "/" in name or name == "lr"}
            self._events.write(values["step"], curves)

    def end_epoch(self, values: dict[str, Any], best: dict[str, Any] | None) -> None:
        """Add an epoch's line, and bring statistic.json up to date."""
        self.add(values)
        self._metric["last"], self._metric["best"] = _metrics(values), _metrics(best or {})
        self._replace()

    def end_test(self, values: dict[str, Any]) -> None:
        """Record the test: `epoch` says whose weights were tested."""
        self._metric["test"] = values
        self._replace()

    def _replace(self) -> None:
        files.write_json(self._run.statistic, {**self._about, "metric": self._metric})

    def state_dict(self) -> dict[str, Any]:
        """Return what `start` needs; what it counts has reached the disk."""
        os.fsync(self._history.fileno())
        return {
            "history": self._history.tell(),
            "events": None if self._events is None else self._events.position(),
            "metric": {**self._metric, "test": {}},
        }

    def close(self) -> None:
        self._history.close()
        if self._events is not None:
            self._events.close()


def _metrics(values: dict[str, Any]) -> dict[str, Any]:
    """Return what of a line of history is a result."""
    return {name: value for name, value in values.items() if "/" in name or name == "epoch"}
