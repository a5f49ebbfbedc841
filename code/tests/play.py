"""Play the manager: give birth to a run and hand it to training, in this process or in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from exper import lock, paths

CODE = Path(__file__).resolve().parents[1]


def born(folder: Path, seed: int = 1, **record: Any) -> paths.Run:
    """Make the folder of a run."""
    run = paths.Run(folder)
    run.folder.mkdir(parents=True)
    run.record.write_text(json.dumps({"threads": 1, "recorded": None, "exact": False, **record}))
    run.seed.write_text(f"{seed}\n")
    return run


def environment(run: paths.Run, held: int) -> dict[str, str]:
    """Return what training reads of its environment."""
    return {
        "EXPER_RUN": str(run.folder),
        "EXPER_DATA": str(run.folder / "data"),
        "EXPER_SEED": run.seed.read_text().strip(),
        "EXPER_FORMAT": "1",
        "EXPER_LOCK": str(held),
    }


def start(run: paths.Run, code: Path = CODE, **more: Any) -> "subprocess.Popen[bytes]":
    """Start main.py of `code` in a process of its own, which alone holds the lock afterwards."""
    held = lock.take(run.lock, wait_seconds=10)
    assert held is not None
    with open(run.log, "ab") as log:
        training = subprocess.Popen(
            [sys.executable, code / "main.py"],
            env=os.environ | environment(run, held) | {"OMP_NUM_THREADS": "1"},
            pass_fds=[held],
            stdout=log,
            stderr=log,
            **more,
        )
    os.close(held)
    return training
