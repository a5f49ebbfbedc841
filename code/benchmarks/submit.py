"""python code/benchmarks/submit.py [--rounds 10] [--folder /tmp]

What `exper submit` costs beside plain sbatch: until the prompt is back, and until the program's first line on an idle
node. Both train the same program with the same Python; sbatch does it without a tag, a copy, a log or a record.

It needs slurm-wlm and munge, and starts a SLURM of its own, as the tests do. How long SLURM itself takes to
start a waiting job is its scheduler's affair, here once a second, and the same for both.
"""  # noqa: D415  the first line is to be typed

import argparse
import functools
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import Samples, make_project, ratio, said_by, table, take_turns

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support import slurm

MARK = "first line at "
MAIN = f"import time\nprint('{MARK}' + repr(time.monotonic()), flush=True)\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", help="where the repository is made for a while; else where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder, slurm.served() as names:
        os.environ.update(names)
        root = make_project(Path(folder) / "project", MAIN)
        plain = root / "job.sh"
        plain.write_text(f"#!/bin/sh\nexec '{sys.executable}' code/main.py\n")
        cases: dict[str, Callable[[], tuple[float, float]]] = {
            "sbatch": functools.partial(sbatch, root, plain, itertools.count()),
            "exper submit": functools.partial(submit, root, itertools.count()),
        }
        samples = take_turns(cases, options.rounds)
    for at, title in enumerate(("until the prompt is back", "until the program's first line, on an idle node")):
        show(title, {name: [pair[at] for pair in pairs] for name, pairs in samples.items()})


def sbatch(root: Path, script: Path, count: "itertools.count[int]") -> tuple[float, float]:
    """Submit a script; return the seconds until that is done, and until the program's first line."""
    output = root.parent / f"{next(count)}.log"
    return timed(["sbatch", f"--output={output}", str(script)], root, output)


def submit(root: Path, count: "itertools.count[int]") -> tuple[float, float]:
    """Submit a tag; return the same."""
    tag = f"tag{next(count)}"
    command = [sys.executable, "-I", str(root / "code/exper"), "submit", tag]
    return timed(command, root, root / "__result__" / tag / "0" / "log")


def timed(command: list[str], root: Path, output: Path) -> tuple[float, float]:
    """Return the seconds that a command takes, and those until its job has written the first line."""
    started = time.monotonic()
    said_by(command, root)
    done = time.monotonic()
    while not output.exists() or MARK not in output.read_text():
        time.sleep(0.02)
    line = float(output.read_text().partition(MARK)[2].split()[0])
    while said_by(["squeue", "--noheader"]):  # the next one shall find the node idle
        time.sleep(0.1)
    return done - started, line - started


def show(title: str, samples: Samples) -> None:
    """Print a table."""
    rows = [
        [name, *(f"{seconds * 1000:.0f}" for seconds in (min(values), statistics.median(values))), of_sbatch]
        for name, values in samples.items()
        for of_sbatch in [f"{ratio(samples, name, 'sbatch'):.2f}"]
    ]
    table(title, ["", "min ms", "median ms", "of sbatch"], rows)


if __name__ == "__main__":
    main()
