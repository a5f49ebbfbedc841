"""The run that this process trains, as the manager hands it over. Imports no torch."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from exper.core import files, lock, paths, slurm
from exper.core.errors import Refused
from exper.training import stopping
from exper.training.distributed import rank


@dataclass(frozen=True)
class Run:
    """A run in the hands of training."""

    files: paths.Run
    data: Path
    seed: int
    format: int
    record: dict[str, Any]  # run.json
    lock: int | None  # the descriptor that holds the run's lock; None on a further node of a job

    def environment(self) -> dict[str, str]:
        """Return the environment of another process of this run, without the lock."""
        variables = {"RUN": self.files.folder, "DATA": self.data, "SEED": self.seed, "FORMAT": self.format}
        return {f"EXPER_{name}": str(value) for name, value in variables.items()}

    def compare(self, **sections: dict[str, Any]) -> None:
        """Warn when a value of `device`, `data` … differs from the run that is resumed or repeated.

        Raises:
            Refused: one differs, and --exact was given.
        """
        recorded = self.record.get("recorded") or {}
        differences = []
        for section, values in sections.items():
            for name, old in (recorded.get(section) or {}).items():
                if old != values.get(name):
                    differences.append(f"{section} {name} was {old!r} and is {values.get(name)!r}")
        if differences and self.record.get("exact"):
            raise Refused(f"not as recorded: {'; '.join(differences)}. Without --exact it runs all the same.")
        for line in differences:
            rank.say(f"not as recorded, so numbers may differ: {line}")


@contextlib.contextmanager
def handed_run(given: Mapping[str, str] = os.environ) -> Iterator[Run]:
    """Yield the run that the environment `given` names; a refusal within the block becomes exit code 2."""
    run = _handed(given)
    try:
        yield run
    except Refused as error:
        files.replace(run.files.refused, " ".join(str(error).split()) + "\n")
        raise SystemExit(2) from None
    except Exception as error:
        if "EXPER_LAUNCHER" in given:
            _fail(error)
        raise


def _fail(error: Exception) -> NoReturn:
    """Print a rank's error after a delay, and end the process.

    If another rank failed first, its launcher kills this one before the delay is over, so that only the cause is
    printed. An error that all ranks have is printed by the first.
    """
    time.sleep(1.0 if rank.is_first() else 3.0)
    sys.excepthook(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
    sys.stdout.flush()
    os._exit(1)  # to take Python apart, with others waiting for us, takes seconds


def _handed(given: Mapping[str, str]) -> Run:
    run = paths.Run(Path(given["EXPER_RUN"]))
    record = files.read_json(run.record)
    handed = {name: int(given[name]) for name in ("EXPER_LOCK", "EXPER_CONTROL", "EXPER_OUTPUT") if name in given}
    if slurm.is_further_node(record.get("job")):
        if "EXPER_LAUNCHER" not in given:
            handed["EXPER_CONTROL"] = _from_input()
    elif not lock.is_handed(handed.get("EXPER_LOCK", -1), run.lock):
        print(f"main.py: EXPER_RUN names {run.folder}, but this process was not handed its lock.", file=sys.stderr)
        print("Type `unset EXPER_RUN`, or start it by `run` or `continue`.", file=sys.stderr)
        raise SystemExit(2)
    elif handed["EXPER_LOCK"] == 0:
        handed["EXPER_LOCK"] = _from_input()
    stopping.hold(list(handed.values()))
    has_lock = "EXPER_LOCK" in handed
    log = run.log if has_lock else Path(os.devnull)  # no file has a writer on each of two hosts
    if "EXPER_CONTROL" in handed:
        stopping.watch_supervisor(handed["EXPER_CONTROL"], handed.get("EXPER_OUTPUT"), log)
    if "EXPER_LAUNCHER" in given:
        stopping.watch_launcher(int(given["EXPER_LAUNCHER"]), log)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # into a pipe, too
    return Run(
        files=run,
        data=Path(given["EXPER_DATA"]),
        seed=int(given["EXPER_SEED"]),
        format=int(given["EXPER_FORMAT"]),
        record=record,
        lock=handed.get("EXPER_LOCK"),
    )


def _from_input() -> int:
    """Move standard input, the only descriptor that torchrun and srun pass on, to a descriptor of its own."""
    handed = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return handed
