"""Kill runs at random moments, continue them, and compare them with an uninterrupted run.

    python code/tests/support/campaign.py --kills 100

Each kill is a SIGKILL of the supervisor, of training, or of both; sometimes the newest checkpoint is then truncated or
gets a flipped bit. At the end history.jsonl (without "seconds"), which holds the digest of the weights, and the metrics
must equal those of the uninterrupted run. test_campaign.py runs a short campaign.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

CODE = Path(__file__).parents[2]
SETTINGS = ["epochs=8", "ema=0.99", "clip=1.0", "checkpoint.every_steps=7", "log_every_steps=10"]
_SLOWEST_SECONDS = 120


def make_project(root: Path) -> Path:
    """Make a repository with one commit that holds the code of this project."""
    skipped = shutil.ignore_patterns("__pycache__", ".*cache", "tests", "benchmarks", "docs")
    shutil.copytree(CODE, root / "code", ignore=skipped)
    shutil.copy(CODE.parent / ".gitignore", root)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=root, check=True)
    return root


def exper(root: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Start a command of the project; its output goes to the file `output` beside it."""
    with open(root.parent / "output", "ab") as output:
        command = [sys.executable, "-I", str(root / "code/exper"), *words]
        return subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=root)


def finish(root: Path, *words: str) -> int:
    """Run a command to its end; return its exit code."""
    return exper(root, *words).wait(timeout=_SLOWEST_SECONDS)


def result(run: Path) -> dict[str, Any]:
    """Return the results that must not depend on kills: history without times, and all metrics."""
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds", None)
    return {"history": lines, "metric": json.loads((run / "statistic.json").read_text())["metric"]}


def kill(supervisor: "subprocess.Popen[bytes]", whom: str) -> None:
    """SIGKILL the supervisor, training or both, and wait for the end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(supervisor.pid)
        training = process.children(recursive=True)
        victims = {"supervisor": [process], "training": training, "both": [process, *training]}[whom]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        supervisor.wait(timeout=_SLOWEST_SECONDS)


def damage(run: Path, chance: random.Random) -> str:
    """Truncate the newest checkpoint or flip a bit of it, if there is an older one."""
    checkpoints = sorted((run / "checkpoint").glob("epoch_*[0-9].path"), key=lambda path: path.stat().st_mtime_ns)
    checkpoints = [path for path in checkpoints if not path.is_symlink()]
    if len(checkpoints) < 2:
        return "nothing damaged"
    content = bytearray(checkpoints[-1].read_bytes())
    place = chance.randrange(len(content))
    if chance.random() < 0.5:
        del content[place:]
    else:
        content[place] ^= 1 << chance.randrange(8)
    os.chmod(checkpoints[-1], 0o644)
    checkpoints[-1].write_bytes(content)
    return f"{checkpoints[-1].name} damaged at byte {place}"


def break_run(root: Path, tag: str, kills: int, chance: random.Random, longest_seconds: float) -> None:
    """Start `run <tag> -f`, kill it and its continuations `kills` times, then let it finish."""
    run = root / "__result__" / tag / "0"
    for number in range(kills):
        words = ["continue", tag] if run.exists() else ["run", tag, "-f", *SETTINGS]
        process = exper(root, *words)
        time.sleep(chance.uniform(0, longest_seconds))
        whom = chance.choice(["both", "both", "training", "supervisor"])
        kill(process, whom)
        what = damage(run, chance) if whom == "both" and chance.random() < 0.4 else ""
        print(f"  kill {number + 1}: {' '.join(words[:2])}: {whom} {what}", flush=True)
    words = ["continue", tag] if run.exists() else ["run", tag, "-f", *SETTINGS]
    assert finish(root, *words) == 0, (root.parent / "output").read_text()[-2000:]


def campaign(folder: Path, kills: int, chance: random.Random) -> bool:
    """Kill runs until `kills` are reached; tell whether all ended as the uninterrupted run."""
    root = make_project(folder / "project")
    started = time.monotonic()
    assert finish(root, "run", "whole", "-f", *SETTINGS) == 0, (root.parent / "output").read_text()
    seconds = time.monotonic() - started
    whole = result(root / "__result__/whole/0")
    done = 0
    while done < kills:
        tag = f"broken{done}"
        more = min(chance.randrange(5, 15), kills - done)
        break_run(root, tag, more, chance, seconds)
        done += more
        is_same = result(root / f"__result__/{tag}/0") == whole
        print(f"{tag}: {'same' if is_same else 'DIFFERENT'} after {more} kills, {done} in all", flush=True)
        if not is_same:
            return False
    return True


def main() -> int:
    """Run one campaign; return 1 if a run differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the moments; shown, to repeat")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        return 0 if campaign(Path(folder), options.kills, random.Random(options.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
