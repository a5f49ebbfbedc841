"""python code/benchmarks/processes.py [--rounds 3] [--folder /tmp]

Two processes of one thread that train together (`processes = 2`, through torchrun, gloo), against one process of two
threads and one of one thread: the same global batch, the same numbers to rounding. An epoch's time is the median of
those after the first; starts, which take torchrun some seconds more, are shown apart. Runs take turns.
"""  # noqa: D415  the first line is to be typed

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import CODE, table

sys.path.insert(0, str(CODE))

from exper.config import config_file

MODELS: dict[str, dict[str, Any]] = {
    "LeNet, 84,146 weights, batches of 16": {"model": {"name": "lenet"}, "batch_size": 16, "epochs": 6},
    "LeNet, batches of 256": {"model": {"name": "lenet"}, "batch_size": 256, "epochs": 12},
    "ResNet-18, 0.7 million weights, batches of 128": {
        "model": {"name": "resnet18", "width": 16}, "batch_size": 128, "epochs": 3,
    },
}  # fmt: skip
CASES = {"1 process of 2 threads": (1, 2), "2 processes of 1 thread": (2, 1), "1 process of 1 thread": (1, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the runs go for a while; else where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as name:
        root = Path(name)
        shutil.copytree(CODE, root / "code", ignore=shutil.ignore_patterns("tests", "benchmarks", "__pycache__"))
        for title, changes in MODELS.items():
            compare(title, changes, root, options.rounds)


def compare(title: str, changes: dict[str, Any], root: Path, rounds: int) -> None:
    """Print the times of a model's epochs, and their ratios."""
    times: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
    for _ in range(rounds):
        for case, (processes, threads) in CASES.items():
            times[case].append(train(root, changes | {"processes": processes, "threads": threads}))
    epochs = {case: statistics.median(epoch for epoch, _ in found) for case, found in times.items()}
    rows = [
        [
            case,
            f"{1000 * epochs[case]:.0f}",
            f"{epochs['1 process of 2 threads'] / epochs[case]:.2f}",
            f"{statistics.median(rest for _, rest in times[case]):.1f}",
        ]
        for case in CASES
    ]
    table(title, ["", "ms an epoch", "efficiency", "all else, s"], rows)


def train(root: Path, changes: dict[str, Any]) -> tuple[float, float]:
    """Train a run; return the seconds of an epoch, and those of the process that are in no epoch."""
    config = config_file.read((CODE / "config.py").read_bytes()) | {"logger": ["tensorboard"], "verbose": "quiet"}
    config["data"] = config["data"] | {"batch_size": changes["batch_size"]}
    config |= {name: value for name, value in changes.items() if name != "batch_size"}
    (root / "code" / "config.py").write_text("".join(f"{name} = {value!r}\n" for name, value in config.items()))
    began = time.monotonic()
    subprocess.run([sys.executable, root / "code" / "main.py"], check=True, capture_output=True)
    took = time.monotonic() - began
    runs = sorted((root / "__result__" / "untagged").glob("[0-9]*"), key=lambda path: int(path.name))
    seconds = [json.loads(line)["seconds"] for line in (runs[-1] / "history.jsonl").read_text().splitlines()]
    return statistics.median(seconds[1:]), took - sum(seconds)


if __name__ == "__main__":
    main()
