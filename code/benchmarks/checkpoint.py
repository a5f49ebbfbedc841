"""python code/benchmarks/checkpoint.py [--rounds 15] [--folder /tmp]

The time that training waits for a checkpoint: state.py's save (footer with sha256, temporary file, fsync, rename,
removal of old checkpoints), the same with `"background": True`, and plain torch.save of the same content, which loses
the old file if it is killed. For LeNet with Adam, and for a state of about 100 MB.

In the background the same work is done while training continues; the last column is the time until it ends.
"""  # noqa: D415  the first line is to be typed

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as main.py does

import argparse
import functools
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import CODE, table, take_turns, verdict

sys.path.insert(0, str(CODE))

import torch
from torch import nn
from torch.amp import GradScaler

from exper.core import host_info, paths
from exper.training.checkpoints import Checkpoints
from exper.training.monitor import Monitor
from exper.training.nothing import NOTHING
from exper.training.records import recorder
from exper.training.records.totals import Totals
from exper.training.state import Context, State
from model.lenet import LeNet
from optim import Optimizers, Schedules

Cost = tuple[float, float]  # seconds that training waits; seconds until the file is on disk


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", help="where files are written for a while; else where temporary files are")
    options = parser.parse_args()
    torch.set_num_threads(host_info.default_threads())
    models = {
        "LeNet": LeNet((1, 8, 8), 10),
        "large": nn.Sequential(*(nn.Linear(660, 660) for _ in range(20))),
    }
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder:
        for name, model in models.items():
            show(Path(folder) / name, name, model, options.rounds)


def show(folder: Path, name: str, model: nn.Module, rounds: int) -> None:
    """Measure and print one table."""
    plain, synchronous, background = (
        build_state(folder / kind, model, background=kind == "background")
        for kind in ("plain", "synchronous", "background")
    )
    number = itertools.count()
    cases: dict[str, Callable[[], Cost]] = {
        "torch.save": functools.partial(save_plainly, plain, folder / "plain.pth"),
        "synchronous": functools.partial(save, synchronous, number),
        "background": functools.partial(save, background, number),
    }
    samples = take_turns(cases, rounds, warm_up=3)  # the first in the background allocates its copy
    size = (folder / "plain.pth").stat().st_size
    stall = {case: statistics.median(still for still, _ in costs) for case, costs in samples.items()}
    rows = [
        [case, f"{min(costs)[0] * 1e3:.2f}", f"{stall[case] * 1e3:.2f}", f"{stall[case] / stall['torch.save']:.2f}",
         f"{stall[case] / stall['synchronous']:.2f}", f"{statistics.median(whole for _, whole in costs) * 1e3:.1f}"]
        for case, costs in samples.items()
    ]  # fmt: skip
    head = ["training waits", "min ms", "median ms", "of torch.save", "of synchronous", "until written, ms"]
    table(f"{name}, a checkpoint of {size / 1e6:.0f} MB", head, rows)
    if name == "large":  # LeNet's is for comparison: it gains nothing in the background
        print()
        verdict("background, of synchronous", stall["background"] / stall["synchronous"], 0.1)


def build_state(folder: Path, model: nn.Module, *, background: bool) -> State:
    """Return the state that main.py builds, after a step of Adam, whose averages are twice the size of the weights."""
    run = paths.Run(folder)
    run.checkpoint.mkdir(parents=True)
    record = recorder.Recorder(run, ["tensorboard"])
    record.start({}, None, 0)
    optimizer = Optimizers(model, {"name": "adam", "lr": 0.001})
    scaler = GradScaler("cpu", enabled=False)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer.step(scaler)
    checkpoints = Checkpoints(run.checkpoint, background=background)
    context = Context(
        settings=None,
        config={},
        format=1,
        pretrained=None,
        recorder=record,
        checkpoints=checkpoints,
        watch=NOTHING,
        verbose="quiet",
    )
    return State(
        context,
        model=model,
        optimizer=optimizer,
        scheduler=Schedules(optimizer, None, epoch_steps=1, epochs=1),
        scaler=scaler,
        ema=None,
        loss=nn.Module(),
        metric=Totals({}),
        monitor=Monitor(None, []),
    )


def save(state: State, number: "itertools.count[int]") -> Cost:
    """Save under a new name, as after an epoch, when the previous save has ended."""
    state.epoch = next(number)
    os.sync()  # the other cases' unwritten data must not count here
    started = time.perf_counter()
    state.save()
    still = time.perf_counter() - started
    state.context.checkpoints.wait()
    return still, time.perf_counter() - started


def save_plainly(state: State, path: Path) -> Cost:
    """Write the same content over the same file, as many scripts do."""
    os.sync()
    started = time.perf_counter()
    content: dict[str, Any] = state.state_dict()
    torch.save(content, path)
    seconds = time.perf_counter() - started
    return seconds, seconds


if __name__ == "__main__":
    main()
