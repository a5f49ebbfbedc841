"""Who am I: the run that this process trains. Imports no torch."""

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from exper import files, lock, paths, untagged
from exper.error import Refused
from exper.training import stop


class Run:
    """The run around `with Run(code) as run:`; what ends the block decides the exit code.

    Started by the manager, the run is the one that the environment names. Started by hand (`python code/main.py`), a
    new one is made under `__result__/untagged/`, so that debuggers and profilers work.
    """

    def __init__(self, code: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._project = paths.Project(code.resolve().parent)
        self._environment = environment
        self._untagged: untagged.Untagged | None = None

    def __enter__(self) -> "Run":
        given = self._environment
        if "EXPER_RUN" not in given:
            self._untagged = untagged.Untagged(self._project, ["python", "code/main.py"])
            given = self._untagged.__enter__()
        self.files = paths.Run(Path(given["EXPER_RUN"]))
        handed = {name: int(given[name]) for name in ("EXPER_LOCK", "EXPER_CONTROL", "EXPER_OUTPUT") if name in given}
        if not lock.is_handed(handed.get("EXPER_LOCK", -1), self.files.lock):
            print(
                f"main.py: EXPER_RUN is {self.files.folder}, but this process was not handed that run's lock."
                " Type `unset EXPER_RUN`, or use `run` and `continue`.",
                file=sys.stderr,
            )
            raise SystemExit(2)
        stop.hold(list(handed.values()))
        if "EXPER_CONTROL" in handed:
            stop.watch_supervisor(handed["EXPER_CONTROL"], handed.get("EXPER_OUTPUT"), self.files.log)
        self.data = Path(given["EXPER_DATA"])
        self.seed = int(given["EXPER_SEED"])
        self.format = int(given["EXPER_FORMAT"])
        record = files.read_json(self.files.record)
        self.threads: int | None = record.get("threads")
        self._recorded: dict[str, Any] = record.get("recorded") or {}
        self._is_exact = bool(record.get("exact"))
        return self

    def compare(self, **now: dict[str, Any]) -> None:
        """Say what differs from the run that is continued or repeated: `device` and `data`, as in statistic.json.

        Raises:
            Refused: something does, and the run has to be exact.
        """
        different = [
            f"{section} {name} was {recorded[name]!r}, is {values.get(name)!r}"
            for section, values in now.items()
            for recorded in [self._recorded.get(section) or {}]
            for name in recorded
            if recorded[name] != values.get(name)
        ]
        if different and self._is_exact:
            raise Refused(f"not the same as recorded: {'; '.join(different)}. Without --exact it runs all the same.")
        for line in different:
            print(f"differs from the recorded run: {line}; the numbers may differ")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        code = 0 if error is None else 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif isinstance(error, Refused):
            code = 2
            files.replace(self.files.refused, " ".join(str(error).split()) + "\n")
        if self._untagged is not None:
            self._end_untagged(self._untagged, code, error)
        if isinstance(error, Refused):
            raise SystemExit(code) from None

    def _end_untagged(self, run: untagged.Untagged, code: int, error: BaseException | None) -> None:
        """Record the end of a run that has no supervisor; its traceback has to be in the log before that."""
        if isinstance(error, Refused):
            print(f"main.py: {error}", file=sys.stderr)
        elif error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
            sys.excepthook = lambda *_: None
        run.__exit__(None, SystemExit(code), None)
