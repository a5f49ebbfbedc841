"""Play the manager: give birth to a run and hand it to training, in this process or in one of its own."""

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import evaluate as evaluation
import main
import transform
from exper.config import config_file
from exper.core import lock, paths
from exper.training.run import Run, handed_run
from exper.training.session import Session
from setting import Settings

CODE = Path(__file__).resolve().parents[2]


QUIET: dict[str, Any] = {"logger": ["tensorboard"], "hardware_every_seconds": None}


def born(folder: Path, seed: int = 1, **record: Any) -> paths.Run:
    """Make the folder of a run."""
    run = paths.Run(folder)
    run.folder.mkdir(parents=True)
    run.record.write_text(json.dumps({"threads": 1, "recorded": None, "exact": False, **record}))
    run.seed.write_text(f"{seed}\n")
    return run


def environment(run: paths.Run, held: int) -> dict[str, str]:
    """Return the environment variables that training reads."""
    return {
        "EXPER_RUN": str(run.folder),
        "EXPER_DATA": str(run.folder / "data"),
        "EXPER_SEED": run.seed.read_text().strip(),
        "EXPER_FORMAT": "1",
        "EXPER_LOCK": str(held),
    }


def start(run: paths.Run, code: Path = CODE) -> "subprocess.Popen[bytes]":
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
        )
    os.close(held)
    return training


def config(**changes: Any) -> dict[str, Any]:
    """Return the template's settings with some of them replaced, no program that draws, and no look at the hardware."""
    return config_file.read((CODE / "config.py").read_bytes()) | QUIET | changes


def small(**changes: Any) -> dict[str, Any]:
    """Return settings with everything on that draws or averages, of 3 epochs of 4 steps, the last batch smaller."""
    everything = config(
        epochs=3,
        data={
            "name": "digits",
            "batch_size": 16,
            "eval_batch_size": 64,
            "split": {"val": 100, "test": 1640, "stratify": True, "seed": 0},
            "workers": 0,
        },
        transform=[
            {"name": "normalize", "mean": [0.3], "std": [0.4]},
            {"name": "crop", "padding": 1},
            {"name": "flip", "p": 0.5},
            {"name": "noise"},
        ],
        scheduler={"name": "cosine_warmup_decay"},
        clip=1.0,
        ema=0.9,
        log_every_steps=1,
        checkpoint={"every": 1, "every_steps": 1, "keep": 2},
    )
    return everything | changes


def noise(image_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw from all the generators that libraries share."""
    shift = random.random() + float(np.random.rand()) + float(torch.rand(()))
    return image_BCHW + 0.01 * shift


transform.RANDOM["noise"] = transform.TRANSFORM["noise"] = noise


@contextlib.contextmanager
def taken(run: paths.Run) -> Iterator[Run]:
    """Have this process be the one that works on a run."""
    held = lock.take(run.lock)
    assert held is not None
    try:
        with handed_run(environment(run, held)) as this:
            yield this
    finally:
        os.close(held)


def train(run: paths.Run, config: dict[str, Any]) -> None:
    """Train in this process."""
    with taken(run) as this:
        main.main(Session(this, config, Settings, CODE.parent))


def evaluate(run: paths.Run, config: dict[str, Any], epoch: str = "best", pictures: int | None = None) -> None:
    """Evaluate in this process."""
    with taken(run) as this:
        evaluation.evaluate(this, config, epoch, pictures)


def history(run: paths.Run) -> list[dict[str, Any]]:
    """Return history.jsonl without times."""
    lines = [json.loads(line) for line in run.history.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def statistic(run: paths.Run) -> Any:
    """Return statistic.json."""
    return json.loads(run.statistic.read_text())


def end(run: paths.Run) -> dict[str, Any]:
    """Return all that has to be the same in two runs: history, results, and the last state."""
    last = torch.load(run.checkpoint / "epoch_last.path", weights_only=True)
    last["monitor"]["line"].pop("seconds", None)
    own = {name: plain(value) for name, value in last.items() if name not in ("config", "statistic", "seconds")}
    return {"history": history(run), "statistic": statistic(run)} | own


def plain(value: Any) -> Any:
    """Return `value` with tensors as lists, so that == compares every bit but that of zero's sign."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
