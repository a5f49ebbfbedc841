"""python code/benchmarks/trials.py [--trials 200] [--folder /tmp]

A whole search, two trials at a time on a thread each: `exper search -j 2`; as many cold `run`s, two at a time; and
Optuna alone, two processes that train in a function, without tags, copies, logs, checkpoints or statistics. Each trial
is one epoch of this project's network on digits with another learning rate.
"""  # noqa: D415  the first line is to be typed

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import CODE, commit, copy_template, environment, exper, git, said_by, table

sys.path.insert(0, str(CODE))

from exper.config import config_file

SETTINGS = {"epochs": 1, "logger": [], "verbose": "quiet", "threads": 1}
AT_ONCE = 2
ALONE = """\
import sys

sys.path.insert(0, "code")
import optuna
import torch
from torch.nn import functional

from data.digits import digits
from model.lenet import LeNet
from pathlib import Path

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.ERROR)
data = digits(Path())
images, targets = (data.images.float() / 255 - 0.3053) / 0.3761, data.targets


def objective(trial):
    model = LeNet(data.shape, data.classes, dropout=0.4)
    optimizer = torch.optim.Adam(model.parameters(), trial.suggest_float("lr", 1e-4, 1e-1, log=True))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.003, 79)
    order = torch.randperm(len(images))
    for index in order[:1257].split(16):
        optimizer.zero_grad()
        functional.cross_entropy(model(images[index]), targets[index]).backward()
        optimizer.step()
        scheduler.step()
    model.eval()
    with torch.no_grad():
        return float((model(images[order[1257:]]).argmax(1) == targets[order[1257:]]).float().mean())


backend = optuna.storages.journal.JournalFileBackend(sys.argv[1])
study = optuna.create_study(
    study_name="alone", direction="maximize", storage=optuna.storages.JournalStorage(backend), load_if_exists=True
)
study.optimize(objective, n_trials=int(sys.argv[2]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--folder", help="where the repository is made for a while; else where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder:
        root = make_project(Path(folder) / "project", options.trials)
        times = {
            "Optuna alone, in a function": seconds(lambda: alone(root, options.trials)),
            "exper search -j 2": seconds(lambda: search(root)),
            "cold `run`s": seconds(lambda: cold(root, options.trials)),
        }
        searched = times["exper search -j 2"]
        rows = [
            [name, f"{value:.1f}", f"{value / options.trials:.2f}", f"{value / searched:.2f}"]
            for name, value in times.items()
        ]
        table(f"{options.trials} trials, two at a time", ["", "s", "s a trial", "of the search"], rows)


def make_project(root: Path, trials: int) -> Path:
    """Commit this project with the space to search."""
    rates = [round(1e-4 * 1000 ** (number / trials), 7) for number in range(trials)]
    changes = {**SETTINGS, "search": {"optimizer.lr": rates}}
    copy_template(root, lambda config: config_file.edit(config, changes))
    git(root, "init", "--quiet")
    commit(root)
    return root


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def search(root: Path) -> None:
    """Search as a user does, pictures and table included."""
    said_by(exper(root, "search", "wide", "-j", str(AT_ONCE)), root)


def cold(root: Path, trials: int) -> None:
    """Start each trial as a run of its own."""
    lines = [exper(root, "run", f"cold{number}", f"optimizer.lr={(number + 1) / 1e4}") for number in range(trials)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda line: said_by(line, root), lines))


def alone(root: Path, trials: int) -> None:
    """Let Optuna train in a function, in two processes that share a journal."""
    words = [sys.executable, "-c", ALONE, str(root.parent / "journal"), str(trials // AT_ONCE)]
    for process in [subprocess.Popen(words, cwd=root, env=environment()) for _ in range(AT_ONCE)]:
        if process.wait():
            raise SystemExit("Optuna alone has failed")


if __name__ == "__main__":
    main()
