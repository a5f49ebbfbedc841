"""python code/benchmarks/launch.py [--rounds 15] [--folder /tmp]

How long it takes from a command to the first line of the user's program: `run`, against `dvc exp run` and against
`python code/main.py`, in a small repository and in one with 2,000 files (12 MB). All three start the same Python and
the same program, which prints the time of its first line and ends.

dvc gets an environment of its own, made on the first call (uv or pip, half a minute) in the user's cache folder.

`run` copies the repository's files, so a plain copy of them is measured as well: it shows what the disk asks for that.
On ext4 without a journal, as some virtual machines have it, a new file costs 0.7 ms instead of 0.03 ms for minutes
after many others were deleted: the kernel steps over each inode that was in use lately. Such a disk measures itself;
take another `--folder`.
"""  # noqa: D415  the first line is to be typed

import argparse
import functools
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import Samples, commit, make_project, peer, ratio, said_by, table, take_turns, verdict

FILES = 2000
MARK = "first line at "
MAIN = f"import time\nprint('{MARK}' + repr(time.monotonic()), flush=True)\n"
PYTHON = [sys.executable, "code/main.py"]
Case = Callable[[], float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", help="where the repositories are made for a while; else where temporary files are")
    options = parser.parse_args()
    dvc = dvc_program()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder:
        samples = take_turns(cases(Path(folder), dvc), options.rounds)
    show(samples, f"dvc {said_by([dvc, '--version'])}")


def cases(folder: Path, dvc: str) -> dict[str, Case]:
    """Return the cases to time, each in a repository of its own."""
    found: dict[str, Case] = {}
    for name, files in (("small", 0), ("large", FILES)):
        ours = make_project(folder / name / "run", MAIN, files=files)
        theirs = make_dvc_project(folder / name / "dvc", dvc, files)
        found[f"python, {name}"] = functools.partial(start, PYTHON, ours)
        found[f"run, {name}"] = functools.partial(start_run, ours, itertools.count())
        found[f"dvc, {name}"] = functools.partial(start, [dvc, "exp", "run", "--force"], theirs)
        found[f"plain copy, {name}"] = functools.partial(copy, theirs, folder / "copy")
    return found


def copy(root: Path, to: Path) -> float:
    """Return the seconds that a plain copy of a repository's files takes."""
    started = time.monotonic()
    shutil.copytree(root, to, ignore=shutil.ignore_patterns(".git", ".dvc"))
    seconds = time.monotonic() - started
    shutil.rmtree(to)
    return seconds


def start_run(root: Path, tag: "itertools.count[int]") -> float:
    """Return the seconds from `run <tag>`, as source.sh starts it, to the first line of the program."""
    return start([sys.executable, "-I", str(root / "code/exper"), "run", f"tag{next(tag)}"], root)


def start(command: list[str], root: Path) -> float:
    """Return the seconds from the start of a command to the first line of the program."""
    started = time.monotonic()
    output = said_by(command, root)
    return float(output.partition(MARK)[2].split()[0]) - started


# -- dvc -----------------------------------------------------------------------------------------------------------


def dvc_program() -> str:
    """Return dvc's path, in an environment that is made if need be."""
    return str(peer("dvc", "dvc") / "dvc")


def make_dvc_project(root: Path, dvc: str, files: int) -> Path:
    """Commit a project with one stage, the program; nothing of it asks the network."""
    make_project(root, MAIN, files=files, with_exper=False)
    said_by([dvc, "init", "--quiet"], root)
    for setting in ("core.analytics", "core.check_update"):
        said_by([dvc, "config", setting, "false"], root)
    said_by([dvc, "stage", "add", "--name", "train", "--deps", "code/main.py", " ".join(PYTHON)], root)
    said_by([dvc, "repro"], root)
    commit(root)
    return root


# -- what came out -------------------------------------------------------------------------------------------------


def show(samples: Samples, dvc: str) -> None:
    """Print medians, ratios and the figures to hold."""
    rows = []
    for name, values in samples.items():
        low = min(values)
        middle = statistics.median(values)
        bare = name.replace(name.partition(",")[0], "python")
        ratios = (f"{ratio(samples, name, to):.2f}" for to in ("dvc, small", bare))
        rows.append([name.replace("dvc", dvc), f"{low * 1000:.0f}", f"{middle * 1000:.0f}", *ratios])
    head = ["from the command to the first line", "min ms", "median ms", "of dvc, small", "of python"]
    table(f"small: a few files; large: {FILES:,} files of 6 kB", head, rows)
    print()
    verdict("run, small repository, of dvc's time there", ratio(samples, "run, small", "dvc, small"), 0.25)
    verdict("run, large repository, of dvc's time in the small one", ratio(samples, "run, large", "dvc, small"), 0.5)


if __name__ == "__main__":
    main()
