"""Who am I: the run that this process trains. Imports no torch."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exper import files, lock, paths
from exper.error import Refused
from exper.training import stop
from exper.untagged import Untagged


@dataclass(frozen=True)
class Run:
    """What the manager hands to training."""

    files: paths.Run
    data: Path
    seed: int
    format: int
    record: dict[str, Any]  # run.json

    def compare(self, **now: dict[str, Any]) -> None:
        """Say aloud, or with --exact refuse, what of `device`, `data` … differs from the run that is repeated."""
        was = self.record.get("recorded") or {}
        then = [(part, name, old) for part in now for name, old in (was.get(part) or {}).items()]
        pairs = [(f"{part} {name}", old, now[part].get(name)) for part, name, old in then]
        differ = [f"{name} was {old!r} and is {new!r}" for name, old, new in pairs if old != new]
        if differ and self.record.get("exact"):
            raise Refused(f"not as recorded: {'; '.join(differ)}. Without --exact it runs all the same.")
        for line in differ:
            print(f"not as recorded, so numbers may differ: {line}")


@contextlib.contextmanager
def this_run(code: Path, given: Mapping[str, str] = os.environ) -> Iterator[Run]:
    """Yield the run that the environment names, or else (`python code/main.py`, a debugger) a new untagged one."""
    with contextlib.ExitStack() as stack:
        is_untagged = "EXPER_RUN" not in given
        if is_untagged:
            given = stack.enter_context(Untagged(paths.Project(code.parent), ["python", "code/main.py", *sys.argv[1:]]))
        run = _handed(given)
        try:
            yield run
        except Refused as error:
            files.replace(run.files.refused, " ".join(str(error).split()) + "\n")
            if is_untagged:
                print(f"main.py: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except Exception:
            if is_untagged:  # its traceback has to be in the log before the run ends; a debugger still gets the error
                traceback.print_exc()
                sys.excepthook = lambda *_: None
            raise


def _handed(given: Mapping[str, str]) -> Run:
    run = paths.Run(Path(given["EXPER_RUN"]))
    handed = {name: int(given[name]) for name in ("EXPER_LOCK", "EXPER_CONTROL", "EXPER_OUTPUT") if name in given}
    if not lock.is_handed(handed.get("EXPER_LOCK", -1), run.lock):
        print(f"main.py: EXPER_RUN names {run.folder}, but this process was not handed its lock.", file=sys.stderr)
        print("Type `unset EXPER_RUN`, or start it by `run` or `continue`.", file=sys.stderr)
        raise SystemExit(2)
    stop.hold(list(handed.values()))
    if "EXPER_CONTROL" in handed:
        stop.watch_supervisor(handed["EXPER_CONTROL"], handed.get("EXPER_OUTPUT"), run.log)
    seed, number = int(given["EXPER_SEED"]), int(given["EXPER_FORMAT"])
    return Run(run, Path(given["EXPER_DATA"]), seed, number, files.read_json(run.record))
