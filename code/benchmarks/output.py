"""python code/benchmarks/output.py [--rounds 7] [--lines 100000] [--folder /tmp]

The cost of the supervisor to a program that prints 100,000 lines as fast as it can: `run` into a pipe against bare
`python code/main.py` into a pipe, into a file, and on a terminal. Under `run` a program sees a terminal, so Python
writes line by line, as on any terminal, but not into pipes; the terminal's case tells that apart from our own work.

The figures are the time, and the CPU time of all processes, beyond those of the same command without any line.
"""  # noqa: D415  the first line is to be typed

import argparse
import contextlib
import functools
import itertools
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import environment, make_project, table, take_turns

MAIN = """\
for step in range({lines}):
    print(f"step {{step}}  loss {{1 / (step + 1):.6f}}")
"""
PYTHON = [sys.executable, "code/main.py"]
Cost = tuple[float, float]  # seconds, seconds of CPU


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--folder", help="where the repositories are made for a while; else where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder:
        cases: dict[str, Callable[[], Cost]] = {}
        for lines in (0, options.lines):
            root = make_project(Path(folder) / f"{lines}", MAIN.format(lines=lines))
            tag = itertools.count()
            cases[f"python, file {lines}"] = functools.partial(into_file, root)
            cases[f"python, pipe {lines}"] = functools.partial(into_pipe, PYTHON, root)
            cases[f"python, terminal {lines}"] = functools.partial(on_terminal, root)
            cases[f"run, pipe {lines}"] = functools.partial(run_into_pipe, root, tag)
        show(take_turns(cases, options.rounds), options.lines)


def cost(command: list[str], root: Path, output: int) -> Cost:
    """Return the cost of a command that writes to the descriptor `output`, which is closed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=root, env=environment(), stdout=output, stderr=subprocess.DEVNULL)
    os.close(output)
    if process.wait():
        raise SystemExit(f"{' '.join(command)} ends with exit code {process.returncode}")
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def into_file(root: Path) -> Cost:
    return cost(PYTHON, root, os.open(root.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))


def into_pipe(command: list[str], root: Path) -> Cost:
    reading, writing = os.pipe()
    with read_all(reading):
        return cost(command, root, writing)


def on_terminal(root: Path) -> Cost:
    master, slave = pty.openpty()
    with read_all(master):
        return cost(PYTHON, root, slave)


def run_into_pipe(root: Path, tag: "itertools.count[int]") -> Cost:
    launch = str(root / "code" / "exper")
    return into_pipe([sys.executable, "-I", launch, "run", f"tag{next(tag)}"], root)


@contextlib.contextmanager
def read_all(file: int) -> Iterator[None]:
    """Read in a thread until every writer is gone; its CPU time belongs to this process and is not counted."""

    def read() -> None:
        with contextlib.suppress(OSError):  # on a terminal, when every writer is gone
            while os.read(file, 65536):
                pass

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        os.close(file)


def show(samples: dict[str, list[Cost]], lines: int) -> None:
    """Print the cost of the lines."""

    def added(name: str, column: int) -> float:
        some, none = (statistics.median(cost[column] for cost in samples[f"{name} {count}"]) for count in (lines, 0))
        return some - none

    names = [name.removesuffix(" 0") for name in samples if name.endswith(" 0")]
    rows = []
    for name in names:
        ratios = [f"{added(name, column) / added(to, column):.2f}" for to in names[1:3] for column in (0, 1)]
        rows.append([name, f"{added(name, 0) * 1000:.0f}", f"{added(name, 1) * 1000:.0f}", *ratios])
    head = ["the cost of the lines", "ms", "CPU ms", "of pipe", "CPU", "of terminal", "CPU"]
    table(f"a program that prints {lines:,} lines", head, rows)


if __name__ == "__main__":
    main()
