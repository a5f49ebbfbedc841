"""python code/benchmarks/history_png.py [--pairs 4] [--seconds 60] [--folder /tmp]

The cost of history.png to training: steps of a LeNet on all cores, for a minute with the sidecar that draws and for a
minute without, in turns. History has 300 epochs and grows every second, so that it is drawn as often as it ever may be.
The sidecar's CPU time is compared with that of training, which can't lose more; on a shared machine wall time says
less. Then the cost of one drawing, and the time until the last picture is written.
"""  # noqa: D415  the first line is to be typed

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as main.py does

import argparse
import contextlib
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import CODE, quantile, table, take_turns, verdict

sys.path.insert(0, str(CODE))

import psutil
import torch
from torch.nn import functional

from exper.core import host_info, paths
from exper.sidecars import history_picture
from exper.sidecars.process import Sidecar
from model.lenet import LeNet

SHARES: list[float] = []  # of each case with history.png


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--folder", help="where files are written for a while; else where temporary files are")
    options = parser.parse_args()
    torch.set_num_threads(host_info.default_threads())
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as name:
        run = paths.Run(Path(name))
        _write(run, 300)
        cases = {
            "without": lambda: _train(run, options.seconds),
            "with history.png": lambda: _beside(run, options.seconds),
        }
        samples = take_turns(cases, options.pairs)
        pairs = sorted(
            drawn / bare for drawn, bare in zip(samples["with history.png"], samples["without"], strict=True)
        )
        rows = [[case, f"{1e3 * statistics.median(samples[case]):.3g}"] for case in cases]
        table("a step of 128 images on all cores", ["", "median ms"], rows)
        print(f"pairs, p10, median and p90: {' '.join(f'{quantile(pairs, share):.3f}' for share in (0.1, 0.5, 0.9))}")
        verdict("CPU of the drawing, of training's", statistics.median(SHARES), 0.02)
        _of_one(run)


def _write(run: paths.Run, epochs: int) -> None:
    names = ("train/loss", "train/acc", "val/loss", "val/acc", "lr")
    lines = [{"epoch": epoch, "step": epoch} | dict.fromkeys(names, 1 / epoch) for epoch in range(1, epochs + 1)]
    run.history.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _train(run: paths.Run, seconds: float) -> float:
    """Return the mean seconds of a step."""
    model = LeNet((1, 28, 28), 10)
    optimizer = torch.optim.Adam(model.parameters())
    image_BCHW = torch.randn(128, 1, 28, 28)
    label_B = torch.randint(10, (128,))
    steps = 0
    epoch = 300
    began = now = time.perf_counter()
    while now - began < seconds:
        optimizer.zero_grad()
        functional.cross_entropy(model(image_BCHW), label_B).backward()
        optimizer.step()
        steps += 1
        now = time.perf_counter()
        if now - began > epoch - 299:
            epoch += 1
            _write(run, epoch)
    return (now - began) / steps


def _beside(run: paths.Run, seconds: float) -> float:
    began = time.process_time()
    drawing = Sidecar(history_picture.__file__, run.folder, "history.png")
    [process] = psutil.Process().children()
    seconds_of_step = _train(run, seconds)
    used = process.cpu_times()
    SHARES.append((used.user + used.system) / (time.process_time() - began))
    drawing.close(history_picture.MIN_PAUSE_SECONDS)
    time.sleep(2)  # so that the next case begins without it
    return seconds_of_step


def _of_one(run: paths.Run) -> None:
    """Print the cost of a run's only picture."""
    run.picture.unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    drawing = Sidecar(history_picture.__file__, run.folder, "history.png")
    started = time.perf_counter() - began
    time.sleep(1)
    ended = time.perf_counter()
    drawing.close(history_picture.MIN_PAUSE_SECONDS)
    closed = time.perf_counter() - ended
    memory = 0
    [process] = psutil.Process().children()
    while not run.picture.exists():
        with contextlib.suppress(psutil.Error):
            memory = max(memory, process.memory_info().rss)
        time.sleep(0.01)
    later = time.perf_counter() - ended
    time.sleep(1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"training waits {1e3 * (started + closed):.1f} ms; the last picture is written {later:.2f} s after its end")
    print(f"a run of a second: {seconds:.2f} s of CPU, {memory / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
