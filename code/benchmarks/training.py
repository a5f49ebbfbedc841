"""python code/benchmarks/training.py [--blocks 40] [--epochs 3] [--folder /tmp]

What this project adds to training, on the CPU, in four tables:

1. Blocks of 30 steps of the loop in epoch.py with everything on (metrics, progress bar, log, history, TensorBoard,
   checkpoint), against the bare loop over tensors in memory, beside a second bare loop that shows the noise. The end of
   an epoch and its checkpoint come after each block, and count as in an epoch of 422 steps.
2. The calls that the loop adds, each on its own, as a share of the bare step.
3. Epochs, validation included, against the usual template: torchvision's MNIST, which gives single images through PIL,
   ToTensor and Normalize, a DataLoader, .item() and add_scalar at each step, torch.save; and what both have learned in
   the end. The bare loop, without any of that and without validation, is the network's own arithmetic.
4. One logged scalar, in history and TensorBoard, against SummaryWriter.add_scalar, which is TensorBoard alone.

All read the same files in MNIST's format, in a temporary folder: scikit-learn's digits, enlarged to 28 x 28; 54,000 to
train, 6,000 to validate. The model is the small LeNet of PyTorch's MNIST example, which leaves little time to hide in.
"""  # noqa: D415  the first line is to be typed

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as main.py does

import argparse
import contextlib
import functools
import io
import pty
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import CODE, quantile, ratio, table, take_turns, verdict

sys.path.insert(0, str(CODE))

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter
from torchvision import datasets, transforms

import data
import epoch
import metric as metrics
from data.digits import digits
from exper.config import config_file
from exper.core import components, host_info, paths
from exper.training import checkpoints as checkpoint
from exper.training import random_state, stopping
from exper.training.data.batches import Batch, Batches
from exper.training.monitor import Monitor
from exper.training.nothing import NOTHING
from exper.training.records import progress_bar, recorder
from exper.training.records.totals import Totals
from exper.training.state import Context, State
from loss import Loss
from optim import Optimizers, Schedules
from setting import Settings
from transform import Transform

STEPS = 30
BATCH = 128  # of a block
STEPS_OF_EPOCH = 422  # 54,000 images
FILES = {"train": 60_000, "t10k": 10_000}  # images in each of MNIST's files
VAL = 6_000
MEAN = 0.3053
STD = 0.3761
NORMALIZE: dict[str, Any] = {"name": "normalize", "mean": [MEAN], "std": [STD]}
AUGMENT: list[dict[str, Any]] = [{"name": "crop", "padding": 4}, {"name": "flip"}]
ACCURACY = [{"name": "acc"}]
CPU = torch.device("cpu")
LR = 0.003
GIVEN: Settings = components.call(
    "", config_file.read((CODE / "config.py").read_bytes()) | {"log_every_steps": 10}, Settings
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", help="where files are written for a while; else where temporary files are")
    options = parser.parse_args()
    torch.set_num_threads(host_info.default_threads())
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as name, terminal():
        folder = Path(name)
        write_mnist(folder / "MNIST" / "raw")
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


def enlarged(count: int) -> tuple[Tensor, Tensor]:
    """Return `count` digits of 28 x 28, as bytes, and their labels; with noise where the 1797 come again."""
    small = digits(Path())
    image_N1HW = functional.interpolate(small.images.float(), (28, 28), mode="bilinear")
    index_N = torch.arange(count) % len(image_N1HW)
    noise_N1HW = torch.randn(count, 1, 28, 28, generator=random_state.generator("noise")) * 20
    return (image_N1HW[index_N] + noise_N1HW).clamp(0, 255).byte(), small.targets[index_N]


def write_mnist(folder: Path) -> None:
    """Write the four files of MNIST: magic number and sides, big-endian, then bytes."""
    folder.mkdir(parents=True)
    images, labels = (one.split([*FILES.values()]) for one in enlarged(sum(FILES.values())))
    for part, image_N1HW, label_N in zip(FILES, images, labels, strict=True):
        for name, values in (("images-idx3", image_N1HW[:, 0]), ("labels-idx1", label_N.byte())):
            head = [0x800 + values.ndim, *values.shape]
            content = b"".join(number.to_bytes(4, "big") for number in head) + values.numpy().tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(content)


def load(folder: Path, augment: list[dict[str, Any]], length: int | None = None) -> dict[str, Batches]:
    """Return the batches that main.py gets for MNIST; an epoch has `length` of them, or all."""
    given = {"name": "mnist", "batch_size": BATCH, "eval_batch_size": 512, "split": {"val": VAL}}
    return data.load(folder, given, Transform([NORMALIZE, *augment]), CPU, 0, epoch_length=length).batches


class SmallLeNet(nn.Sequential):
    """The model of PyTorch's MNIST example: 22,000 weights, images of 28 x 28."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Dropout(), nn.Linear(50, 10)),
        )


def network(steps: int) -> tuple[nn.Module, Any, Any]:
    """Return the model, optimizer and scheduler that all loops here train."""
    torch.manual_seed(0)
    model = SmallLeNet()
    optimizer = torch.optim.Adam(model.parameters(), LR)
    return model, optimizer, OneCycleLR(optimizer, LR, steps, cycle_momentum=False)


def build_state(folder: Path, steps: int) -> State:
    """Return the state that main.py builds for `logger = ["tensorboard"]`."""
    run = paths.Run(folder)
    run.checkpoint.mkdir(parents=True)
    record = recorder.Recorder(run, ["tensorboard"])
    record.start({"format": 1, "hparam": {}}, None, 0)
    monitor = Monitor("max train/acc", ["train/acc"])
    checkpoints = checkpoint.Checkpoints(run.checkpoint)
    model, _, _ = network(steps)
    optimizer = Optimizers(model, {"name": "adam", "lr": LR})
    context = Context(
        settings=GIVEN,
        config={},
        format=1,
        pretrained=None,
        recorder=record,
        checkpoints=checkpoints,
        watch=NOTHING,
        verbose=GIVEN.verbose,
    )
    return State(
        context,
        model=model,
        optimizer=optimizer,
        scheduler=Schedules(optimizer, {"name": "cosine_warmup_decay"}, epoch_steps=steps // 100, epochs=100),
        scaler=GradScaler("cpu", enabled=False),
        ema=None,
        loss=Loss({"name": "cross_entropy"}),
        metric=Totals(metrics.build(ACCURACY)),
        monitor=monitor,
    )


class Everything:
    """The loop of epoch.py, with what main.py does around it; every tenth step is logged."""

    def __init__(self, folder: Path, batches: dict[str, Batches], steps: int = 100_000) -> None:
        self.batches = batches
        self.state = build_state(folder, steps)
        self.accuracy = 0.0

    def block(self) -> float:
        """Return the seconds of 30 steps with their share of an epoch's end."""
        started = time.perf_counter()
        epoch.train(self.state, self.batches["train"], GIVEN)
        stepped = time.perf_counter()
        complete_epoch(self.state, {})
        return stepped - started + (time.perf_counter() - stepped) * STEPS / STEPS_OF_EPOCH

    def one_epoch(self) -> float:
        """Return the seconds of an epoch with its validation and checkpoint."""
        started = time.perf_counter()
        epoch.train(self.state, self.batches["train"], GIVEN)
        val = epoch.evaluate(self.state, self.state.model, self.batches["val"], "val")
        complete_epoch(self.state, val)
        self.accuracy = val["val/acc"]
        return time.perf_counter() - started


class Bare:
    """The shortest loop: normalised images in memory, whole batches in random order, nothing measured or kept."""

    def __init__(self, folder: Path, steps: int | None = None) -> None:
        train = load(folder, [])["train"]
        self.image_NCHW, self.label_N = train.dataset.__getitems__(train.index_N)
        assert self.image_NCHW.is_floating_point()
        self.samples = len(self.label_N) if steps is None else steps * BATCH
        self.model, self.optimizer, self.scheduler = network(100_000)
        self.loss_of = nn.CrossEntropyLoss()

    def block(self) -> float:
        """Return the seconds of a pass over the data, or of so many steps."""
        started = time.perf_counter()
        self.model.train()
        for index_B in torch.randperm(len(self.label_N))[: self.samples].split(BATCH):
            image_BCHW = self.image_NCHW.index_select(0, index_B)
            label_B = self.label_N.index_select(0, index_B)
            loss = self.loss_of(self.model(image_BCHW), label_B)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
        return time.perf_counter() - started


# -- 1. blocks -----------------------------------------------------------------------------------------------------


def blocks(folder: Path, count: int) -> float:
    """Print the ratios of blocks; return the seconds of a bare step."""
    cases: dict[str, Callable[[], float]] = {
        "bare": Bare(folder, STEPS).block,
        "bare again": Bare(folder, STEPS).block,
        "everything": Everything(folder / "everything", load(folder, [], STEPS)).block,
        "everything, crop and flip": Everything(folder / "augmented", load(folder, AUGMENT, STEPS)).block,
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
    batch = Batch(*enlarged(BATCH), share=1.0)
    state = build_state(folder / "calls", 1000)
    output_BK = torch.randn(BATCH, 10)
    loss = torch.tensor(1.0, requires_grad=True)
    line = {"epoch": 1, "step": 1, "step/loss": 1.0, "step/lr": 0.1}
    add = functools.partial(state.metric.add, loss, output_BK, batch)
    parts_of = functools.partial(parts_of_batch, state, batch, loss)
    key = functools.partial(random_state.generator, 1, "transform", 1, 1)
    added: dict[str, tuple[Callable[[], Any], int, float]] = {  # call; repeats; of them in a step
        "loss and accuracy": (add, 1000, 1),
        "parts of a batch, precision, scale": (parts_of, 1000, 1),
        "progress bar": (functools.partial(next, iter(progress_bar.bar(iter(int, 1), "", 10**9))), 1000, 1),
        "generator of the batch": (key, 1000, 1),
        "is a checkpoint due": (functools.partial(state.context.checkpoints.is_due, 1, 1), 1000, 1),
        "was a stop asked for": (stopping.exit_code, 1000, 1),
        "line of history and TensorBoard": (functools.partial(state.context.recorder.add, line), 100, 1 / 10),
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


def complete_epoch(state: State, values: dict[str, float]) -> None:
    """Complete an epoch; its line is formatted as for a terminal, and dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        state.complete_epoch(values)


def parts_of_batch(state: State, batch: Batch, loss: Tensor) -> None:
    """Do what the loop does for `accumulate` and `amp`, also where both are off."""
    for micro_batch in state.parts(batch):
        with state.precision():
            pass
        state.scaler.scale(loss * micro_batch.share)


def end_epoch(state: State) -> None:
    metric = state.metric
    metric.seen = max(metric.seen, 1)
    for one in metric.metrics.values():
        one.seen = max(one.seen, 1)
    complete_epoch(state, {})


def save(state: State) -> None:
    state.epoch += 1  # a name of its own: what is saved already is not saved again
    state.save()


# -- 3. epochs -----------------------------------------------------------------------------------------------------


class Template:
    """The usual project template: single images through PIL, numbers read and logged at each step."""

    def __init__(self, folder: Path, batches: dict[str, Batches], augment: list[Any], workers: int, steps: int) -> None:
        to_tensor = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
        self.loaders = {}
        for name, before in (("train", augment), ("val", [])):
            images = datasets.MNIST(folder.parent.parent, transform=transforms.Compose([*before, *to_tensor]))
            some = Subset(images, batches[name].index_N.tolist())
            self.loaders[name] = DataLoader(some, BATCH, shuffle=name == "train", num_workers=workers)
        self.model, self.optimizer, self.scheduler = network(steps)
        self.loss_of = nn.CrossEntropyLoss()
        folder.mkdir()
        self.folder = folder
        self.writer = SummaryWriter(str(folder))
        self.step = 0
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


def epochs(folder: Path, count: int) -> None:
    """Print the time of epochs, ours and the template's, and their accuracies."""
    usual_augment = [transforms.RandomCrop(28, padding=4), transforms.RandomHorizontalFlip()]
    for title, augment, usual in (("plain", [], []), ("crop and flip", AUGMENT, usual_augment)):
        place = folder / title
        batches = load(folder, augment)
        steps = (count + 1) * STEPS_OF_EPOCH
        place.mkdir()
        learners: dict[str, Everything | Template] = {
            "ours": Everything(place / "ours", batches, steps),
            "template, 0 workers": Template(place / "0", batches, usual, 0, steps),
            "template, 2 workers": Template(place / "2", batches, usual, 2, steps),
        }
        cases = {name: one.one_epoch for name, one in learners.items()} | {"bare": Bare(folder).block}
        samples = take_turns(cases, count)
        rows = []
        for name, values in samples.items():
            accuracy = f"{learners[name].accuracy:.3f}" if name in learners else ""
            share = f"{ratio(samples, 'ours', name):.2f}"
            rows.append([name, f"{statistics.median(values):.2f}", share, accuracy])
        head = ["an epoch of 54,000 images", "median s", "ours of it", f"val/acc after {count + 1}"]
        table(f"epochs, {title}, with validation and checkpoint, taking turns", head, rows)
        print()
        own, floor, other = (statistics.median(samples[name]) for name in ("ours", "bare", "template, 2 workers"))
        print(f"the network's arithmetic, of the template's epoch: {floor / other:.2f}")
        print(f"what surrounds it, ours of the template's: {(own - floor) / (other - floor):.2f}")
        verdict("ours, of the template with 2 workers", own / other, 1 / 3)


# -- 4. one scalar -------------------------------------------------------------------------------------------------


def scalar(folder: Path) -> None:
    """Print what one logged number costs."""
    run = paths.Run(folder / "scalar")
    run.folder.mkdir()
    record = recorder.Recorder(run, ["tensorboard"])
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
    second = 1000 * statistics.median(samples["history and TensorBoard"])
    verdict("1,000 of them a second, of training's time", second, 0.03)


if __name__ == "__main__":
    main()
