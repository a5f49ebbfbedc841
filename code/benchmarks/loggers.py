"""python code/benchmarks/loggers.py [--lines 1000] [--rounds 3] [--folder /tmp]

What loggers that send cost training, in two tables:

1. A logged line of five numbers, through each of them, and by its package called in the loop. Nobody waits for servers
   here: MLflow writes SQLite, W&B offline files, Sacred files, and Elasticsearch's is the small one of the tests, on
   loopback.
2. Whole runs of the digits that log each step, on all cores, with servers that work, that are down, that hang and that
   answer 500: the time of all epochs but the first quarter, in which the program beside training imports its package,
   and the CPU which that program uses meanwhile. Whole runs differ by more than it could cost them.

Needs the four code/requirements-*.txt of the loggers; the packages that are called directly have environments of their
own.
"""  # noqa: D415  the first line is to be typed

import argparse
import contextlib
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from measure import CODE, commit, copy_template, environment, exper, git, peer, said_by, table, take_turns

sys.path.append(str(CODE))

from exper import files, paths
from exper.training.statistic import Statistic
from tests import elastic

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
_EPOCHS = 60  # of a whole run
_PACKAGES = {
    "mlflow": ("mlflow-skinny", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
    "sacred": ("sacred", "setuptools<81", "numpy"),
    "elasticsearch": ("elasticsearch",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where runs are written, such as a file system in memory")
    options = parser.parse_args()
    with elastic.served() as server, tempfile.TemporaryDirectory(dir=options.folder) as name:
        _one_line(Path(name), server, options.lines)
        _whole_runs(Path(name) / "runs", server, options.rounds)


def _one_line(folder: Path, server: elastic.Elastic, lines: int) -> None:
    parts: dict[str, Any] = {one: {"name": one} for one in _DIRECT}
    parts["elasticsearch"]["url"] = server.url
    cases = {"no logger": partial(_ours, folder, None, lines)}
    for one, part in parts.items():
        cases[one] = partial(_ours, folder, part, lines)
        cases[f"{one}, directly"] = partial(_direct, folder, one, lines, server.url)
    samples = take_turns(cases, 3)
    median = {case: [statistics.median(column) for column in zip(*rows, strict=True)] for case, rows in samples.items()}
    rows = []
    for case, (line, end) in median.items():
        ratio = f"{line / median[f'{case}, directly'][0]:.3f}" if case in parts else ""
        rows.append([case, f"{line * 1e6:.0f}", f"{line / median['no logger'][0]:.2f}", ratio, f"{end:.2f}"])
    table("a line of five numbers", ["", "us", "of no logger", "of directly", "end, s"], rows)


def _ours(folder: Path, part: dict[str, Any] | None, lines: int) -> list[float]:
    """Return the seconds of a line and of the end, in training."""
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
    logger = [part] if part else []
    statistic = Statistic(run, logger)
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
    """Return the same of the package called in the loop."""
    script, work = folder / f"{name}_directly.py", folder / f"{name}_directly"
    script.write_text(_TIMED + _DIRECT[name])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    program = peer(f"logger-{name}", *_PACKAGES[name]) / "python"
    seconds: list[float] = json.loads(
        said_by([str(program), str(script), str(work), str(lines), url], work).splitlines()[-1]
    )
    return seconds


# -- whole runs --------------------------------------------------------------------------------------------------------


def _whole_runs(root: Path, server: elastic.Elastic, rounds: int) -> None:
    """Train runs that differ in their loggers, in turns."""
    copy_template(root, lambda source: source)
    git(root, "init", "--quiet")
    commit(root)
    numbers = itertools.count()
    there, down = {"url": server.url}, {"url": "http://127.0.0.1:9"}
    search = {"name": "elasticsearch"}
    cases = {
        "no logger": partial(_run, root, numbers, [], server, ""),
        "no logger, again": partial(_run, root, numbers, [], server, ""),
        "mlflow": partial(_run, root, numbers, [{"name": "mlflow"}], server, ""),
        "wandb": partial(_run, root, numbers, [{"name": "wandb"}], server, ""),
        "sacred": partial(_run, root, numbers, [{"name": "sacred"}], server, ""),
        "elasticsearch": partial(_run, root, numbers, [search | there], server, ""),
        "elasticsearch is down": partial(_run, root, numbers, [search | down], server, ""),
        "elasticsearch hangs": partial(_run, root, numbers, [search | there], server, "hang"),
        "elasticsearch answers 500": partial(_run, root, numbers, [search | there], server, "500"),
    }
    samples = take_turns(cases, rounds, warm_up=0)
    rows = []
    for case, runs in samples.items():
        ratios = [one.seconds / plain.seconds for one, plain in zip(runs, samples["no logger"], strict=True)]
        rows.append([
            case,
            f"{statistics.median(one.sending / one.seconds for one in runs):.2%}",
            f"{statistics.median(ratios):.3f}",
            " ".join(f"{one:.3f}" for one in ratios),
        ])  # fmt: skip
    table("whole runs", ["", "sending, of a core", "time of no logger", "in each round"], rows)


class _Run(NamedTuple):
    """What a run's later epochs took, and the CPU that the program beside it used meanwhile."""

    seconds: float
    sending: float


def _run(root: Path, numbers: Iterator[int], logger: list[Any], server: elastic.Elastic, fault: str) -> _Run:
    server.fault = fault
    run = paths.Project(root).tag(f"run{next(numbers)}").run(0)
    words = [run.tag, "-f", f"epochs={_EPOCHS}", "log_every_steps=1", f"logger={logger!r}"]
    started = subprocess.Popen(exper(root, "run", *words), cwd=root, env=environment(), stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    used: dict[int, float] = {}  # by epochs taken
    sender = None
    while started.poll() is None:
        sender = sender or _sender(run)
        taken = _epochs(run)
        with contextlib.suppress(psutil.Error):
            used[len(taken)] = sum(sender.cpu_times()[:2]) if sender else 0.0
        time.sleep(1.0)
    if started.returncode:
        raise SystemExit(run.log.read_text())
    later = {number: seconds for number, seconds in used.items() if _EPOCHS // 4 <= number < _EPOCHS}
    first, last = min(later), max(later)
    return _Run(sum(_epochs(run)[first:last]), later[last] - later[first])


def _sender(run: paths.Run) -> psutil.Process | None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if str(run.folder) in words and any(word.endswith("sender.py") for word in words):
                return process
    return None


def _epochs(run: paths.Run) -> list[float]:
    """Return the seconds of the epochs taken until now."""
    lines = files.read_lines(run.history) if run.history.exists() else []
    return [line["seconds"] for line in lines if "seconds" in line]


if __name__ == "__main__":
    main()
