"""Play the manager: give birth to a run and hand it to training, in this process or in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import main
from exper import lock, paths, settings
from exper.training.run import this_run

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


def config(**changes: Any) -> dict[str, Any]:
    """Return the template's settings with some of them replaced."""
    return settings.read((CODE / "config.py").read_bytes()) | changes


def train(run: paths.Run, config: dict[str, Any]) -> None:
    """Train in this process."""
    held = lock.take(run.lock)
    assert held is not None
    try:
        with this_run(CODE, environment(run, held)) as this:
            main.main(this, config)
    finally:
        os.close(held)
