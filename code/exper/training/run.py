"""Who am I: the run that this process trains. Imports no torch."""

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
    """What the manager hands to training."""

    files: paths.Run
    data: Path
    seed: int
    format: int
    record: dict[str, Any]  # run.json
    lock: int | None  # the descriptor that holds the run's lock; None on a further node of a job

    def environment(self) -> dict[str, str]:
        """Return what another process of this run has to be told, but for the lock."""
        named = {"RUN": self.files.folder, "DATA": self.data, "SEED": self.seed, "FORMAT": self.format}
        return {f"EXPER_{name}": str(value) for name, value in named.items()}

    def compare(self, **now: dict[str, Any]) -> None:
        """Say aloud, or with --exact refuse, what of `device`, `data` … differs from the run that is repeated."""
        was = self.record.get("recorded") or {}
        then = [(part, name, old) for part in now for name, old in (was.get(part) or {}).items()]
        pairs = [(f"{part} {name}", old, now[part].get(name)) for part, name, old in then]
        differ = [f"{name} was {old!r} and is {new!r}" for name, old, new in pairs if old != new]
        if differ and self.record.get("exact"):
            raise Refused(f"not as recorded: {'; '.join(differ)}. Without --exact it runs all the same.")
        for line in differ:
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
    """End a rank by an error, after a while in which it keeps that for itself.

    If it is the echo of another rank's end, the launcher kills us meanwhile; what all have, the first tells.
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
    seed, number = int(given["EXPER_SEED"]), int(given["EXPER_FORMAT"])
    return Run(run, Path(given["EXPER_DATA"]), seed, number, record, handed.get("EXPER_LOCK"))


def _from_input() -> int:
    """Move what torchrun, or srun, passes on as standard input, and as nothing else, to a descriptor of its own."""
    held, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return held
