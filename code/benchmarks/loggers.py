"""python code/benchmarks/loggers.py [--lines 1000] [--seconds 60] [--folder /tmp]

The cost of sending loggers to training, in two tables:

1. A logged line of five numbers, through each logger, and through its package called in the loop. No case waits for a
   remote server: MLflow writes SQLite, W&B offline files, Sacred files, and Elasticsearch is the tests' small server on
   loopback.
2. Runs of the digits that log each step, on all cores, with servers that work, are down, hang, are slow or answer 500:
   the CPU time of the sidecar and the programs that it starts, once it has imported its package. Training can't lose
   more time than that; the runs themselves differ by far more.

Needs the four loggers' packages (code/exper/extras.txt); packages that are called directly get their own environments.
"""  # noqa: D415  the first line is to be typed

import argparse
import contextlib
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from measure import CODE, commit, copy_template, environment, exper, git, peer, said_by, table, take_turns, verdict

sys.path.append(str(CODE))

from exper.core import files, paths
from exper.sidecars import outbox
from exper.training.records.recorder import Recorder
from tests.support import elastic

_NAMES = ("train/loss", "train/acc", "val/loss", "val/acc", "lr")
_TIMED = (
    f"""\
NAMES = {_NAMES!r}
"""
    + """\
import json, sys, time
def timed(log, end=lambda: None):
    taken = []
    for number in range(int(sys.argv[2])):
        values = {name: 1 / (number + 1) for name in NAMES}
        began = time.perf_counter()
        log(values, number)
        taken.append(time.perf_counter() - began)
        time.sleep(0.001)
    began = time.perf_counter()
    end()
    print(json.dumps([sum(taken) / len(taken), time.perf_counter() - began]))
"""
)
_DIRECT = {
    "mlflow": """\
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/direct.db")
mlflow.start_run()
timed(lambda values, step: mlflow.log_metrics(values, step=step), mlflow.end_run)
""",
    "wandb": """\
import wandb
run = wandb.init(dir=sys.argv[1], mode="offline", settings=wandb.Settings(silent=True, console="off"))
timed(lambda values, step: run.log(values, step=step), run.finish)
""",
    "sacred": """\
from sacred import Experiment
from sacred.observers import FileStorageObserver
experiment = Experiment("direct", save_git_info=False)
experiment.observers.append(FileStorageObserver(sys.argv[1] + "/direct"))
@experiment.main
def main(_run):
    timed(lambda values, step: [_run.log_scalar(name, value, step) for name, value in values.items()])
experiment.run(options={"--loglevel": "ERROR"})
""",
    "elasticsearch": """\
from elasticsearch import Elasticsearch
client = Elasticsearch(sys.argv[3])
timed(lambda values, step: client.index(index="direct", document={"kind": "direct", "step": step, **values}))
""",
}
_START_SECONDS = 30.0
_PACKAGES = {
    "mlflow": ("mlflow-skinny", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
    "sacred": ("sacred", "setuptools<81", "numpy"),
    "elasticsearch": ("elasticsearch",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", help="where runs are written, such as a file system in memory")
    options = parser.parse_args()
    with elastic.served() as server, tempfile.TemporaryDirectory(dir=options.folder) as name:
        _one_line(Path(name), server, options.lines)
        _beside_training(Path(name) / "runs", server, options.seconds)


def _one_line(folder: Path, server: elastic.Elastic, lines: int) -> None:
    settings: dict[str, Any] = {name: {"name": name} for name in _DIRECT}
    settings["elasticsearch"]["url"] = server.url
    cases = {"no logger": partial(_ours, folder, None, lines)}
    for name, setting in settings.items():
        cases[name] = partial(_ours, folder, setting, lines)
        cases[f"{name}, directly"] = partial(_direct, folder, name, lines, server.url)
    samples = take_turns(cases, 3)
    median = {case: [statistics.median(column) for column in zip(*rows, strict=True)] for case, rows in samples.items()}
    rows = []
    for case, (line, end) in median.items():
        ratio = f"{line / median[f'{case}, directly'][0]:.3f}" if case in settings else ""
        rows.append([case, f"{line * 1e6:.0f}", f"{line / median['no logger'][0]:.2f}", ratio, f"{end:.2f}"])
    table("a line of five numbers", ["", "us", "of no logger", "of directly", "end, s"], rows)


def _ours(folder: Path, setting: dict[str, Any] | None, lines: int) -> list[float]:
    """Return the seconds that a line and the end take in training."""
    run = paths.Run(folder / "project" / "__result__" / "base" / "0")
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    run.log.touch()
    session = {"command": ["run", "base"]}
    record = {
        "format": 1,
        "tag": "base",
        "id": 0,
        "seed": 1,
        "status": "failed",
        "started": "2026-01-01T00:00:00+00:00",
    }
    files.write_json(run.record, record | {"sessions": [session]})
    logger = [setting] if setting else []
    statistic = Recorder(run, logger)
    statistic.start({"format": 1, "hparam": {"logger": logger}}, None, 0)
    taken = []
    for number in range(lines):
        line = {"epoch": number, "step": number, **dict.fromkeys(_NAMES, 1 / (number + 1))}
        began = time.perf_counter()
        statistic.add(line)
        taken.append(time.perf_counter() - began)
        time.sleep(0.001)
    began = time.perf_counter()
    statistic.close()
    return [sum(taken) / len(taken), time.perf_counter() - began]


def _direct(folder: Path, name: str, lines: int, url: str) -> list[float]:
    """Return the same for the package called in the loop."""
    script = folder / f"{name}_directly.py"
    work = folder / f"{name}_directly"
    script.write_text(_TIMED + _DIRECT[name])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    program = peer(f"logger-{name}", *_PACKAGES[name]) / "python"
    seconds: list[float] = json.loads(
        said_by([str(program), str(script), str(work), str(lines), url], work).splitlines()[-1]
    )
    return seconds


# -- beside training ---------------------------------------------------------------------------------------------------


def _beside_training(root: Path, server: elastic.Elastic, seconds: int) -> None:
    """Print the share of a core that sending takes, and the lines that are written and sent in a second."""
    copy_template(root, lambda source: source)
    git(root, "init", "--quiet")
    commit(root)
    search = {"name": "elasticsearch", "url": server.url}
    cases = {
        "mlflow": ({"name": "mlflow"}, ""),
        "wandb": ({"name": "wandb"}, ""),
        "sacred": ({"name": "sacred"}, ""),
        "elasticsearch": (search, ""),
        "elasticsearch is down": (search | {"url": "http://127.0.0.1:9"}, ""),
        "elasticsearch hangs": (search, "hang"),
        "elasticsearch is slow": (search, "slow"),
        "elasticsearch answers 500": (search, "500"),
    }
    rows = []
    largest = 0.0
    for number, (case, (setting, fault)) in enumerate(cases.items()):
        server.fault = fault
        run = paths.Project(root).tag(f"run{number}").run(0)
        share, written, arrived = _sending(run, setting, seconds)
        largest = max(largest, share)
        rows.append([case, f"{share:.2%}", f"{written:.0f}", f"{arrived:.0f}"])
    table(f"{seconds} s of training", ["", "CPU, of a core", "lines written in 1 s", "sent"], rows)
    verdict("CPU of sending, in percent of a core", 100 * largest, 1)


def _sending(run: paths.Run, setting: dict[str, Any], seconds: int) -> tuple[float, float, float]:
    """Train for a while; return the share of a core that sending takes, and the lines written and sent in a second."""
    words = [run.tag, "-f", "epochs=100000", "log_every_steps=1", f"logger=[{setting!r}]"]
    started = subprocess.Popen(exper(run.project.root, "run", *words), cwd=run.project.root, env=environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    time.sleep(_START_SECONDS)
    sender = _sender(run)
    while _importing(sender):
        pass
    before = _cpu(sender), outbox.count(run, "history"), outbox.waiting(run, setting["name"])
    time.sleep(seconds)
    after = _cpu(sender), outbox.count(run, "history"), outbox.waiting(run, setting["name"])
    started.send_signal(signal.SIGINT)
    started.wait()
    cpu, written, waiting = ((now - then) / seconds for now, then in zip(after, before, strict=True))
    return cpu, written, written - waiting


def _sender(run: paths.Run) -> psutil.Process:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if str(run.folder) in words and any(word.endswith("sender.py") for word in words):
                return process
    raise SystemExit(run.log.read_text())


def _importing(process: psutil.Process) -> bool:
    """Tell, after 5 seconds, whether a process has taken much CPU time in them."""
    before = _cpu(process)
    time.sleep(5)
    return _cpu(process) - before > 0.5


def _cpu(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and its descendants."""
    return sum(sum(member.cpu_times()[:2]) for member in [process, *process.children(recursive=True)])


if __name__ == "__main__":
    main()
