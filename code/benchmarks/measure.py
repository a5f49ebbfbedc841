"""What the benchmarks share: cases that take turns, a table of ratios, and a project to run.

Times of a shared machine mean little, and ratios of two separate runs not much more. So all cases of a table take
turns in one process, in an order that changes: what disturbs the machine disturbs all of them.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

CODE = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exper-benchmarks"
Samples = dict[str, list[float]]
Value = TypeVar("Value")


def take_turns(cases: Mapping[str, Callable[[], Value]], rounds: int, *, warm_up: int = 1) -> dict[str, list[Value]]:
    """Call each case once a round and return what they returned; the rounds of warm-up are left out."""
    samples: dict[str, list[Value]] = {name: [] for name in cases}
    order = random.Random(0)  # noqa: S311  no secret
    for number in range(-warm_up, rounds):
        for name in order.sample(list(cases), len(cases)):
            value = cases[name]()
            if number >= 0:
                samples[name].append(value)
    return samples


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(samples: Samples, name: str, to: str) -> float:
    """Return the median of one case as a multiple of that of another."""
    return statistics.median(samples[name]) / statistics.median(samples[to])


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    print(f"\n{title}")
    for row in [head, ["-" * width for width in widths], *rows]:
        first, *rest = (cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in
                        enumerate(zip(row, widths, strict=True)))  # fmt: skip
        print("  ".join([first, *rest]))


def verdict(what: str, value: float, limit: float) -> None:
    """Print a figure beside the one to hold."""
    print(f"{what}: {value:.3g}, to hold {limit:.3g}{'' if value <= limit else '   MISSED'}")


# -- programs ----------------------------------------------------------------------------------------------------------


def said_by(command: Sequence[str], root: Path | None = None) -> str:
    """Return the output of a command; end this program if it fails."""
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def peer(name: str, *packages: str) -> Path:
    """Return the folder of programs of an environment that has `packages`; it is made if need be, and kept."""
    folder = CACHE / name
    if not (folder / "complete").exists():
        print(f"installing {name} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        if shutil.which("uv"):
            said_by(["uv", "venv", "--python", sys.executable, str(folder)])
            said_by(["uv", "pip", "install", "--python", str(folder / "bin" / "python"), *packages])
        else:
            said_by([sys.executable, "-m", "venv", str(folder)])
            said_by([str(folder / "bin" / "python"), "-m", "pip", "install", *packages])
        (folder / "complete").touch()
    return folder / "bin"


# -- a project of somebody who knows nothing of us -----------------------------------------------------------------


def make_project(root: Path, main: str, *, files: int = 0, with_exper: bool = True) -> Path:
    """Commit a project whose code/main.py is `main`, with `files` more of 6 kB each; return its root."""
    code = root / "code"
    code.mkdir(parents=True)
    (code / "main.py").write_text(main)
    (root / ".gitignore").write_text("/__*__\n__pycache__/\n")
    for number in range(files):
        path = root / "more" / f"{number // 100}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(3000).hex().encode())  # noqa: S311  no secret
    if with_exper:
        shutil.copytree(CODE / "exper", code / "exper", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(CODE / "requirements.txt", code)
    git(root, "init", "--quiet")
    commit(root)
    return root


def copy_template(root: Path, edit: Callable[[bytes], bytes]) -> None:
    """Copy this project, with its config.py edited."""
    shutil.copytree(CODE, root / "code", ignore=shutil.ignore_patterns("__pycache__", ".*cache"))
    shutil.copy(CODE.parent / ".gitignore", root)
    config = root / "code" / "config.py"
    config.write_bytes(edit(config.read_bytes()))


def exper(root: Path, *words: str) -> list[str]:
    """Return the command line of a project's command, as source.sh starts it."""
    return [sys.executable, "-I", str(root / "code" / "exper"), *words]


def commit(root: Path) -> None:
    """Commit all that there is."""
    git(root, "add", "-A")
    git(root, "-c", "user.name=b", "-c", "user.email=b@b", "-c", "commit.gpgsign=false", "commit", "-qm", "benchmark")
    git(root, "repack", "-adq")  # as it is in every clone
    # In the second of a commit git can't tell an unchanged file by its time, and until the next status would read all.
    time.sleep(1.1)
    git(root, "status", "--porcelain")


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, env=environment())


def environment() -> dict[str, str]:
    """Return our environment without what git or a run around us has put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "EXPER_"))}
