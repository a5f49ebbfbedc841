"""python code/benchmarks/watch.py [--rounds 15] [--folder /tmp]

The cost of config.py's `see`: each kind, switched on for every step, against the same steps without, in turns; and the
cost to the loop of a step at which nothing is due, and of a logged number.
"""  # noqa: D415  the first line is to be typed

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as main.py does

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from measure import CODE, table, take_turns

sys.path.insert(0, str(CODE))

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from exper.core import host_info, paths
from exper.training.inspect.watch import Watch
from exper.training.records.recorder import Recorder
from exper.training.records.totals import Means
from model.lenet import LeNet

KINDS: dict[str, Any] = {"histograms": 1, "ratios": 1, "activations": 1, "images": 1}
STEPS = 4  # of a block


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", help="where files are written for a while; else where temporary files are")
    options = parser.parse_args()
    torch.set_num_threads(host_info.default_threads())
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as name:
        small = LeNet((1, 8, 8), 10)
        large = resnet18(num_classes=10)
        due("LeNet, 84,146 weights, 128 images of 8 x 8", small, (1, 8, 8), Path(name), 3 * options.rounds)
        due("ResNet-18, 11,181,642 weights, 16 images of 32 x 32", large, (3, 32, 32), Path(name), options.rounds)
        not_due(Path(name))


def due(title: str, model: nn.Module, shape: tuple[int, int, int], folder: Path, rounds: int) -> None:
    """Print the time that each kind adds to a step of a model."""
    image_BCHW = torch.rand(128 if shape[0] == 1 else 16, *shape)
    kinds: dict[str, dict[str, Any]] = {"nothing": {}} | {kind: {kind: value} for kind, value in KINDS.items()}
    cases: dict[str, Callable[[], float]] = {}
    records = []
    for kind, see in kinds.items():
        records.append(begun(folder / title.partition(",")[0] / kind))
        cases[kind] = partial(block, model, image_BCHW, Watch(records[-1], compiled=False, **see))
    samples = {kind: statistics.median(values) / STEPS for kind, values in take_turns(cases, rounds).items()}
    bare = samples.pop("nothing")
    sizes = {kind: written(record) for kind, record in zip(kinds, records, strict=True)}
    rows = [
        [kind, f"{(seconds - bare) * 1e3:.1f}", f"{(seconds - bare) / bare:.2f}",
         f"{(sizes[kind] - sizes['nothing']) / 1000 / STEPS / (rounds + 1):.0f}"] for kind, seconds in samples.items()
    ]  # fmt: skip
    started = time.perf_counter()
    Watch(records[0], compiled=False, graph=True).before_step(model, 1, image_BCHW)
    seconds = time.perf_counter() - started
    rows.append(["graph, once", f"{seconds * 1e3:.1f}", f"{seconds / bare:.2f}", ""])
    table(f"{title}; a step takes {bare * 1e3:.1f} ms", ["a step with", "ms more", "in steps", "kB"], rows)
    for record in records:
        record.close()


def begun(folder: Path) -> Recorder:
    folder.mkdir(parents=True)
    record = Recorder(paths.Run(folder), ["tensorboard"])
    record.start({"format": 1, "hparam": {}}, None, 0)
    return record


def written(record: Recorder) -> int:
    return int(record.events.position()[1])


def block(model: nn.Module, image_BCHW: Tensor, see: Watch) -> float:
    """Return the seconds of a few steps."""
    target_B = torch.arange(len(image_BCHW)) % 10
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    started = time.perf_counter()
    for step in range(2, STEPS + 2):
        see.before_step(model, step, image_BCHW)
        optimizer.zero_grad()
        functional.cross_entropy(model(image_BCHW), target_B).backward()
        optimizer.step()
        see.after_step(model)
    return time.perf_counter() - started


def not_due(folder: Path) -> None:
    """Print the cost of a step at which nothing is due, and of a logged number."""
    record = begun(folder / "not due")
    see = Watch(record, compiled=False, histograms=10**9)
    means = Means()
    model = LeNet((1, 8, 8), 10)
    image_BCHW = torch.rand(16, 1, 8, 8)

    def off() -> None:
        see.before_step(model, 2, image_BCHW)
        see.after_step(model)

    number = torch.tensor(1.0)
    cases = {
        "nothing is due": off,
        "state.log of a tensor": lambda: means.add({"gap": number}, taken=("loss",)),
        "state.log of a float": lambda: means.add({"gap2": 1.0}, taken=("loss",)),
    }
    samples = take_turns({name: partial(seconds_of, call) for name, call in cases.items()}, 15)
    table("at every step", ["call", "us"], [[name, f"{min(values) * 1e6:.1f}"] for name, values in samples.items()])
    record.close()


def seconds_of(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(1000):
        call()
    return (time.perf_counter() - started) / 1000


if __name__ == "__main__":
    main()
