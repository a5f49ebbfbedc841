"""python code/benchmarks/training.py [--blocks 20] [--epochs 10] [--folder /tmp]

What this project adds to training, on the CPU, in four tables:

1. Blocks of 30 steps of the loop in epoch.py with everything on (metrics, progress bar, log, history, TensorBoard,
   checkpoint), against the bare loop over tensors in memory, beside a second bare loop that shows the noise. The end of
   an epoch and its checkpoint come after each block, and count as in an epoch of 422 steps (54,000 images).
2. The calls that the loop adds, each on its own, as a share of the bare step.
3. Epochs, validation included, against the usual template: a Dataset of single images through PIL, ToTensor and
   Normalize, a DataLoader, .item() and add_scalar at each step, torch.save; and what both have learned in the end.
   The bare loop, without any of that and without validation, is the network's own arithmetic, which both have.
4. One logged scalar, in history and TensorBoard, against SummaryWriter.add_scalar, which is TensorBoard alone.

The data are scikit-learn's digits: enlarged to 28 x 28, with the small LeNet of PyTorch's MNIST example, which leaves
little time to hide in; and in table 3 also as they are, with the model of config.py.
"""  # noqa: D415  the first line is to be typed

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as main.py does

import argparse
import contextlib
import functools
import pty
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from measure import CODE, quantile, ratio, table, take_turns, verdict

sys.path.insert(0, str(CODE))

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from torchvision import transforms

import epoch
from data.batches import Batches, Tensors
from data.digits import digits
from exper import machine, parts, paths, settings
from exper.training import checkpoint, progress, statistic, stop, streams
from exper.training.monitor import Monitor
from loss import Loss
from metric import Totals
from model.lenet import LeNet
from optim import Optimizers
from setting import Settings
from state import State
from transform import Transform

STEPS, BATCH = 30, 128  # of a block
STEPS_OF_EPOCH = 422  # 54,000 images
MEAN, STD = 0.3053, 0.3761
NORMALIZE: dict[str, Any] = {"name": "normalize", "mean": [MEAN], "std": [STD]}
AUGMENT: list[dict[str, Any]] = [{"name": "crop", "padding": 4}, {"name": "flip"}]
ACCURACY = [{"name": "acc"}]
CPU = torch.device("cpu")
LR = 0.003
GIVEN: Settings = parts.call("", settings.read((CODE / "config.py").read_bytes()) | {"log_every_steps": 10}, Settings)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--folder", help="where files are written for a while; else where temporary files are")
    options = parser.parse_args()
    torch.set_num_threads(machine.default_threads())
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as name, terminal():
        folder = Path(name)
        step_seconds = blocks(folder, options.blocks)
        calls(folder, step_seconds)
        epochs(folder, options.epochs)
        scalar(folder)


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Make stderr a terminal within the block, as under `run`, or there would be no progress bar to measure."""
    master, slave = pty.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(master, 65536):
                pass

    threading.Thread(target=read, daemon=True).start()
    with open(slave, "w") as bar, contextlib.redirect_stderr(bar):
        yield


# -- what trains ---------------------------------------------------------------------------------------------------


def enlarged(count: int) -> Tensors:
    """Return `count` digits of 28 x 28; with noise where the 1797 come again."""
    small = digits(Path())
    image_N1HW = functional.interpolate(small.images.float(), (28, 28), mode="bilinear")
    index_N = torch.arange(count) % len(image_N1HW)
    noise_N1HW = torch.randn(count, 1, 28, 28, generator=streams.generator("noise")) * 20
    return Tensors((image_N1HW[index_N] + noise_N1HW).clamp(0, 255).byte(), small.targets[index_N], 10)


class SmallLeNet(nn.Sequential):
    """The model of PyTorch's MNIST example: 22,000 weights, images of 28 x 28."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Dropout(), nn.Linear(50, 10)),
        )


def network(dataset: Tensors, steps: int) -> tuple[nn.Module, Any, Any]:
    """Return the model, optimizer and scheduler that all loops here train."""
    torch.manual_seed(0)
    shape = dataset.images.shape[1], dataset.images.shape[2], dataset.images.shape[3]
    model = SmallLeNet() if shape == (1, 28, 28) else LeNet(shape, dataset.classes, dropout=0.4)
    optimizer = torch.optim.Adam(model.parameters(), LR)
    return model, optimizer, OneCycleLR(optimizer, LR, steps, cycle_momentum=False)


def build_state(folder: Path, dataset: Tensors, steps: int) -> State:
    """Return what main.py builds for `logger = ["tensorboard"]`, with the arguments of config.py's `checkpoint`."""
    run = paths.Run(folder)
    run.checkpoint.mkdir(parents=True)
    record = statistic.Statistic(run, ["tensorboard"])
    record.start({"format": 1, "hparam": {}}, None, 0)
    monitor = Monitor("max train/acc", ["train/acc"])
    checkpoints = checkpoint.Checkpoints(run.checkpoint)
    model, _, _ = network(dataset, steps)
    optimizers = Optimizers(model, {"name": "adam", "lr": LR}, {"name": "one_cycle"}, steps, 100)
    scaler = GradScaler("cpu", enabled=False)
    return State(model, optimizers, scaler, None, Totals(ACCURACY), monitor, record, checkpoints, 1, {})


class Everything:
    """The loop of epoch.py, with what main.py does around it."""

    def __init__(self, folder: Path, dataset: Tensors, augment: list[dict[str, Any]], steps: int = 100_000) -> None:
        transform = Transform([*augment, NORMALIZE])
        self.batches = Batches(dataset, torch.arange(len(dataset.targets)), BATCH, transform, CPU, 0, seed=0)
        self.state = build_state(folder, dataset, steps)
        self.loss_of = Loss({"name": "cross_entropy"})

    def block(self) -> float:
        """Return the seconds of 30 steps with their share of an epoch's end; every tenth step is logged."""
        started = time.perf_counter()
        epoch.train(self.state, self.batches, self.loss_of, GIVEN)
        stepped = time.perf_counter()
        self.state.check_finite()
        line = self.state.end_epoch({}, Totals(ACCURACY))
        statistic.text(line, 10)
        self.state.save()
        return stepped - started + (time.perf_counter() - stepped) * STEPS / STEPS_OF_EPOCH


class Bare:
    """The shortest loop: normalised images in memory, whole batches, nothing measured or kept."""

    def __init__(self, dataset: Tensors, batch: int = BATCH) -> None:
        self.image_NCHW, self.label_N, self.batch = (dataset.images.float() / 255 - MEAN) / STD, dataset.targets, batch
        self.model, self.optimizer, self.scheduler = network(dataset, 100_000)
        self.loss_of = nn.CrossEntropyLoss()

    def block(self) -> float:
        """Return the seconds of one pass over the data."""
        started = time.perf_counter()
        self.model.train()
        for index_B in torch.randperm(len(self.label_N)).split(self.batch):
            loss = self.loss_of(self.model(self.image_NCHW[index_B]), self.label_N[index_B])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
        return time.perf_counter() - started


# -- 1. blocks -----------------------------------------------------------------------------------------------------


def blocks(folder: Path, count: int) -> float:
    """Print the ratios of blocks; return the seconds of a bare step."""
    dataset = enlarged(STEPS * BATCH)
    cases: dict[str, Callable[[], float]] = {
        "bare": Bare(dataset).block,
        "bare again": Bare(dataset).block,
        "everything": Everything(folder / "everything", dataset, []).block,
        "everything, crop and flip": Everything(folder / "augmented", dataset, AUGMENT).block,
    }
    samples = take_turns(cases, count, warm_up=2)
    rows = []
    bare = quantile(samples["bare"] + samples["bare again"], 0.1)
    for name, values in samples.items():
        low = quantile(values, 0.1)
        pairs = [own / other for own, other in zip(values, samples["bare"], strict=True)]
        ratios = (low / bare, ratio(samples, name, "bare"), statistics.median(pairs))
        rows.append([name, f"{low / STEPS * 1e3:.2f}", *(f"{one:.3f}" for one in ratios)])
    head = ["a step of 128 images", "p10 ms", "p10 of both bare", "median of bare", "median of pairs"]
    table(f"{count} blocks of {STEPS} steps, taking turns", head, rows)
    print()
    verdict("everything on, p10 of the bare loops'", quantile(samples["everything"], 0.1) / bare, 1.05)
    verdict("with crop and flip", quantile(samples["everything, crop and flip"], 0.1) / bare, 1.10)
    return bare / STEPS


# -- 2. calls ------------------------------------------------------------------------------------------------------


def calls(folder: Path, step_seconds: float) -> None:
    """Print what each call costs that the loop adds, and their sum for a step."""
    dataset = enlarged(BATCH)
    state = build_state(folder / "calls", dataset, 1000)
    output_BK, label_B, loss = torch.randn(BATCH, 10), dataset.targets, torch.tensor(1.0, requires_grad=True)
    line = {"epoch": 1, "step": 1, "step/loss": 1.0, "step/lr": 0.1}
    add = functools.partial(state.metric.add, loss, output_BK, label_B)
    key = functools.partial(streams.generator, 1, "transform", 1, 1)
    added: dict[str, tuple[Callable[[], Any], int, float]] = {  # call; repeats; of them in a step
        "loss and accuracy": (add, 1000, 1),
        "parts of a batch, precision, scale": (functools.partial(parts_of_batch, state, dataset, loss), 1000, 1),
        "progress bar": (functools.partial(next, iter(progress.bar(iter(int, 1), "", 10**9))), 1000, 1),
        "generator of the batch": (key, 1000, 1),
        "is a checkpoint due": (functools.partial(state.checkpoints.is_due, 1, 1), 1000, 1),
        "was a stop asked for": (stop.exit_code, 1000, 1),
        "line of history and TensorBoard": (functools.partial(state.statistic.add, line), 100, 1 / 10),
        "end of the epoch": (functools.partial(end_epoch, state), 5, 1 / STEPS_OF_EPOCH),
        "checkpoint": (functools.partial(save, state), 5, 1 / STEPS_OF_EPOCH),
    }
    each = {name: functools.partial(seconds_of, call, repeats) for name, (call, repeats, _) in added.items()}
    samples = {name: min(values) for name, values in take_turns(each, 15).items()}
    total = sum(seconds * added[name][2] for name, seconds in samples.items())
    rows = [
        [name, f"{seconds * 1e6:.1f}", f"{seconds * added[name][2] * 1e6:.1f}",
         f"{seconds * added[name][2] / step_seconds:.2%}"] for name, seconds in samples.items()
    ]  # fmt: skip
    rows.append(["all", "", f"{total * 1e6:.1f}", f"{total / step_seconds:.2%}"])
    table("what the loop adds, call by call", ["call", "us", "us a step", "of a bare step"], rows)
    print()
    verdict("all of it, of a bare step", total / step_seconds, 0.01)


def seconds_of(call: Callable[[], Any], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def parts_of_batch(state: State, dataset: Tensors, loss: Tensor) -> None:
    """Do what the loop does for `accumulate` and `amp`, also where both are off."""
    for image_PCHW, _ in zip(dataset.images.chunk(1), dataset.targets.chunk(1), strict=True):
        with epoch.precision(None, CPU):
            pass
        state.scaler.scale(loss * (len(image_PCHW) / len(dataset.images)))


def end_epoch(state: State) -> None:
    metric = state.metric
    metric.seen = max(metric.seen, 1)
    for one in metric.metrics.values():
        one.seen = max(one.seen, 1)
    state.end_epoch({}, metric)


def save(state: State) -> None:
    state.epoch += 1  # a name of its own: what is saved already is not saved again
    state.save()


# -- 3. epochs -----------------------------------------------------------------------------------------------------


class Images(Dataset[tuple[Any, int]]):
    """A data set as tutorials write it: one image at a time, through PIL."""

    def __init__(self, dataset: Tensors, index_N: Tensor, is_augmented: bool) -> None:
        self.dataset, self.index_N = dataset, index_N
        self.to_image = transforms.ToPILImage()
        augment = [transforms.RandomCrop(dataset.shape[1:], padding=4), transforms.RandomHorizontalFlip()]
        to_tensor = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
        self.transform = transforms.Compose([*(augment if is_augmented else []), *to_tensor])

    def __len__(self) -> int:
        return len(self.index_N)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        index = self.index_N[number]
        return self.transform(self.to_image(self.dataset.images[index])), int(self.dataset.targets[index])


class Template:
    """The usual project template: numbers are read and logged at each step."""

    def __init__(self, folder: Path, case: "Case", workers: int) -> None:
        dataset, epochs = case.dataset, case.epochs
        self.loaders = {}
        for name, index_N in case.split.items():
            is_train = name == "train"
            images = Images(dataset, index_N, is_augmented=is_train and bool(case.augment))
            self.loaders[name] = DataLoader(images, case.batch, shuffle=is_train, num_workers=workers)
        self.model, self.optimizer, self.scheduler = network(dataset, epochs * len(self.loaders["train"]))
        self.loss_of = nn.CrossEntropyLoss()
        folder.mkdir()
        self.folder, self.writer, self.step = folder, SummaryWriter(str(folder)), 0
        self.accuracy = 0.0

    def one_epoch(self) -> float:
        """Return the seconds of an epoch with its validation and checkpoint."""
        started = time.perf_counter()
        self.model.train()
        for image_BCHW, label_B in self.loaders["train"]:
            self.optimizer.zero_grad()
            output_BK = self.model(image_BCHW)
            loss = self.loss_of(output_BK, label_B)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.step += 1
            self.writer.add_scalar("loss", loss.item(), self.step)
            self.writer.add_scalar("accuracy", (output_BK.argmax(1) == label_B).float().mean().item(), self.step)
        self.validate()
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, self.folder / f"{self.step}.pth")
        return time.perf_counter() - started

    @torch.no_grad()
    def validate(self) -> None:
        self.model.eval()
        right = seen = 0
        for image_BCHW, label_B in self.loaders["val"]:
            right += int((self.model(image_BCHW).argmax(1) == label_B).sum().item())
            seen += len(label_B)
        self.accuracy = right / seen


class Ours(Everything):
    """The same epochs by epoch.py and what main.py does around it; every tenth step is logged."""

    def __init__(self, folder: Path, case: "Case") -> None:
        steps = case.epochs * -(-len(case.split["train"]) // case.batch)
        super().__init__(folder, case.dataset, case.augment, steps)
        self.batches = replace(self.batches, index_N=case.split["train"], size=case.batch)
        self.val = replace(self.batches, index_N=case.split["val"], size=512, seed=None)
        self.accuracy = 0.0

    def one_epoch(self) -> float:
        """Return the seconds of an epoch with its validation and checkpoint."""
        started = time.perf_counter()
        epoch.train(self.state, self.batches, self.loss_of, GIVEN)
        val = epoch.evaluate(self.state, self.state.model, self.val, self.loss_of, GIVEN, "val")
        self.state.end_epoch(val, Totals(ACCURACY))
        self.state.save()
        self.accuracy = val["val/acc"]
        return time.perf_counter() - started


@dataclass(frozen=True)
class Case:
    """What all loops of a table train on."""

    title: str
    dataset: Tensors
    batch: int
    augment: list[dict[str, Any]]
    epochs: int

    @property
    def split(self) -> dict[str, Tensor]:
        generator = streams.generator("split")
        val_N, train_N = torch.randperm(len(self.dataset.targets), generator=generator).tensor_split([270])
        return {"train": train_N, "val": val_N}


def epochs(folder: Path, count: int) -> None:
    """Print the time of epochs, ours and the template's, and their accuracies."""
    large = enlarged(12_800)
    cases = (
        Case("8 x 8, batch 16", digits(Path()), 16, [], count + 1),
        Case("28 x 28, batch 128", large, BATCH, [], count + 1),
        Case("28 x 28, batch 128, crop and flip", large, BATCH, AUGMENT, count + 1),
    )
    for case in cases:
        place = folder / case.title
        place.mkdir()
        train_N = case.split["train"]
        bare = Bare(Tensors(case.dataset.images[train_N], case.dataset.targets[train_N], 10), case.batch)
        learners: dict[str, Ours | Template] = {
            "ours": Ours(place / "ours", case),
            "template, 0 workers": Template(place / "0", case, 0),
            "template, 2 workers": Template(place / "2", case, 2),
        }
        samples = take_turns({name: one.one_epoch for name, one in learners.items()} | {"bare": bare.block}, count)
        rows = []
        for name, values in samples.items():
            accuracy = f"{learners[name].accuracy:.3f}" if name in learners else ""
            share = f"{ratio(samples, 'ours', name):.2f}"
            rows.append([name, f"{statistics.median(values) * 1e3:.0f}", share, accuracy])
        head = ["an epoch", "median ms", "ours of it", f"val/acc after {case.epochs}"]
        table(f"epochs of {case.title}, with validation and checkpoint, taking turns", head, rows)
        print()
        own, floor, usual = (statistics.median(samples[name]) for name in ("ours", "bare", "template, 2 workers"))
        print(f"what surrounds the network's arithmetic, of the template's: {(own - floor) / (usual - floor):.2f}")
        verdict("ours, of the template with 2 workers", own / usual, 0.55)


# -- 4. one scalar -------------------------------------------------------------------------------------------------


def scalar(folder: Path) -> None:
    """Print what one logged number costs."""
    run = paths.Run(folder / "scalar")
    run.folder.mkdir()
    record = statistic.Statistic(run, ["tensorboard"])
    record.start({}, None, 0)
    writer = SummaryWriter(str(folder / "writer"))

    def ours() -> None:
        record.add({"step": 1, "step/loss": 0.123456789})

    def theirs() -> None:
        writer.add_scalar("step/loss", 0.123456789, 1)

    cases: dict[str, Callable[[], float]] = {
        "history and TensorBoard": functools.partial(seconds_of, ours, 300),
        "add_scalar": functools.partial(seconds_of, theirs, 300),
    }
    samples = take_turns(cases, 30)
    rows = [
        [name, f"{min(values) * 1e6:.1f}", f"{statistics.median(values) * 1e6:.1f}",
         f"{ratio(samples, name, 'add_scalar'):.2f}"] for name, values in samples.items()
    ]  # fmt: skip
    table("one logged scalar", ["", "min us", "median us", "of add_scalar"], rows)
    print()
    verdict("history and TensorBoard, of add_scalar alone", ratio(samples, "history and TensorBoard", "add_scalar"), 1)


if __name__ == "__main__":
    main()
