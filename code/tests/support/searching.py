"""Projects whose search is quick: their training imports no torch, and writes the files that a search reads."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from exper.core import paths
from exper.search import study
from tests.support import manager

# The nearer to 0.01 the rate, the better; it counts its beginnings and ends where a test can see them.
MAIN = """\
import json, math, os, sys, time
from pathlib import Path

sys.path.insert(0, "code")
from exper.config import config_file as settings

run, data = Path(os.environ["EXPER_RUN"]), Path(os.environ["EXPER_DATA"])
config = settings.read(Path("code/config.py").read_bytes())
lr, seed = config["optimizer"]["lr"], int(os.environ["EXPER_SEED"])

def note(what):
    with open(data / "noted", "a") as file:
        file.write(f"{what} {run.parent.name}/{run.name}\\n")

note("begun")
if lr < 0:
    (run / "refused").write_text("optimizer.lr must be above 0.\\n")
    sys.exit(2)
if lr > 1:
    raise ValueError("the loss is NaN")
statistic = {"format": 1, "hparam": settings.flatten(config), "metric": {"last": {}, "best": {}, "test": {}}}
best, lines = {}, []
for epoch in range(1, config["epochs"] + 1):
    time.sleep(config["seconds"])
    line = {"epoch": epoch, "val/acc": (1 - abs(math.log10(lr) + 2) / 10) * epoch / config["epochs"] + seed % 7 / 1e6}
    lines.append(line)
    best = line if line["val/acc"] > best.get("val/acc", 0) else best
    (run / "history.jsonl").write_text("".join(json.dumps(one) + "\\n" for one in lines))
    statistic["metric"] |= {"last": line, "best": best}
    (run / "beside").write_text(json.dumps(statistic))
    os.replace(run / "beside", run / "statistic.json")
note("ended")
"""
CONFIG = """\
epochs = 3
seconds = 0.0
monitor = "max val/acc"
optimizer = {"name": "sgd", "lr": 0.1}  # too high for ResNets
model = {"name": "mlp", "sizes": [8]}
threads = None
search = {"optimizer.lr": [0.1, 0.01, 0.001]}
"""
RATES = "[0.1, 0.01, 7.0, 0.0001, -1.0]"  # 7.0 fails, -1.0 is refused


def prepare(project: paths.Project, config: str = CONFIG, **changed: str) -> None:
    """Commit the quick training and a config.py, with some of its lines written anew."""
    project.data.mkdir(exist_ok=True)
    lines = [line for line in config.splitlines() if line.partition(" ")[0] not in changed]
    lines += [f"{name} = {value}" for name, value in changed.items()]
    manager.write(project, main=MAIN, config="\n".join(lines) + "\n")
    manager.git(project.root, "pack-refs")  # a search does so with its tags; nothing else in .git may change


def noted(project: paths.Project, what: str) -> list[str]:
    """Return the runs that have "begun" or "ended", once for each time."""
    path = project.data / "noted"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(" ")[2] for line in lines if line.startswith(what)]


def trials(project: paths.Project, tag: str) -> list[str]:
    """Return the tags of a search's trials."""
    return [name for name in manager.tags(project) if name.startswith(f"{tag}+")]


def told(project: paths.Project, tag: str) -> list[FrozenTrial]:
    """Return the trials of a search as its study has them."""
    commit = manager.git(project.root, "rev-parse", f"{tag}^{{commit}}").strip()
    stored = study.load(project.tag(tag), commit, None)
    assert stored is not None
    return stored.get_trials()


def config_of(project: paths.Project, tag: str) -> str:
    """Return the config.py that a tag holds."""
    return manager.git(project.root, "show", f"{tag}:code/config.py")


def best(run: Path) -> dict[str, Any]:
    """Return the best metrics of a run."""
    values: dict[str, Any] = json.loads((run / "statistic.json").read_text())["metric"]["best"]
    return values


def copy_searched(project: paths.Project, temporary: pytest.TempPathFactory) -> paths.Project:
    """Replace a project by a copy of one that has searched RATES; the search itself runs once."""
    kept = temporary.getbasetemp() / "searched"
    if kept.exists():
        shutil.rmtree(project.root)
    else:
        prepare(project, search=f'{{"optimizer.lr": {RATES}}}')
        done = manager.exper(project, "search", "wide", "-f", code=1)
        (project.result / ".said").write_text(done.stdout + done.stderr)
        project.root.rename(kept)
    shutil.copytree(kept, project.root, symlinks=True)
    return project


def said(project: paths.Project) -> str:
    """Return the output of the search in a copy."""
    return (project.result / ".said").read_text()
