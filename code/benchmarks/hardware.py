"""python code/benchmarks/hardware.py [--samples 100]

The cost of sampling the hardware: the CPU time of a sample and of writing it, alone and beside training, and the time
by which training starts later.
"""  # noqa: D415  the first line is to be typed

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as main.py does

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import CODE, quantile, table, verdict

sys.path.insert(0, str(CODE))

import psutil
import torch
from torch.nn import functional

from exper.config import config_file
from exper.core import host_info, paths
from exper.training.distributed import device
from exper.training.records.hardware import Hardware, Numbers
from exper.training.records.recorder import Recorder
from model.lenet import LeNet

EVERY_SECONDS = float(config_file.read((CODE / "config.py").read_bytes())["hardware_every_seconds"])
GPU = "cuda" if torch.cuda.is_available() else "cpu"


class Timed(Hardware):
    """Hardware that notes the CPU seconds of each sample."""

    def _work(self, show: Callable[[int, Numbers], None]) -> None:
        self.samples: list[float] = []
        began = time.thread_time()

        def shown(step: int, numbers: Numbers) -> None:
            nonlocal began
            show(step, numbers)
            self.samples.append(time.thread_time() - began)
            began = time.thread_time()

        super()._work(shown)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(host_info.default_threads())
    rows = []
    medians = []
    for name, block in (("alone", contextlib.nullcontext()), ("beside training", training())):
        with block:
            samples, start = sampled(options.samples)
        medians.append(statistics.median(samples))
        figures = [medians[-1], quantile(samples, 0.9), start]
        rows.append([name, *(f"{seconds * 1e3:.2f}" for seconds in figures)])
    title = f"{len(psutil.pids())} processes on this machine, {len(gpus())} GPUs are sampled"
    table(title, ["a sample", "ms of a core", "p90", "start, ms"], rows)
    verdict(f"of one core, every {EVERY_SECONDS:g} s, in percent", 100 * max(medians) / EVERY_SECONDS, 0.5)


def gpus() -> list[str]:
    return device.gpus(torch.device(GPU, 0))


def sampled(count: int) -> tuple[list[float], float]:
    """Return the CPU seconds of each sample, and the seconds that the start took."""
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-") as name:
        run = paths.Run(Path(name))
        record = Recorder(run, ["tensorboard"])
        hardware = Timed(run, 0.1, gpus(), lambda: 0)
        record.start({"format": 1, "hparam": {}}, None, 0)
        started = time.perf_counter()
        hardware.begin(record._show_hardware)
        start = time.perf_counter() - started
        time.sleep(0.1 * count)
        hardware.close()
        record.close()
        return hardware.samples[1:], start


@contextlib.contextmanager
def training() -> Iterator[None]:
    """Train a LeNet in a thread within the block."""
    is_over = threading.Event()

    def train() -> None:
        model = LeNet((1, 8, 8), 10)
        image_BCHW = torch.rand(128, 1, 8, 8)
        target_B = torch.arange(128) % 10
        optimizer = torch.optim.SGD(model.parameters(), 1e-4)
        while not is_over.is_set():
            optimizer.zero_grad()
            functional.cross_entropy(model(image_BCHW), target_B).backward()
            optimizer.step()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    main()
