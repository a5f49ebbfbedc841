"""python code/benchmarks/tables.py [--rounds 5] [--runs 10000] [--folder /tmp]

How long `table` and `expls` take as whole processes, over runs whose files are as a real run leaves them: `table` over
all runs, a tenth and, to see whether it is linear, ten times as many with --ten-times; `expls` over half of them.
Against MLflow's `search_runs` with `to_csv` over runs with the same settings and metrics, in its default store, SQLite.

MLflow gets an environment of its own (mlflow-skinny, which imports less than mlflow), and the runs are logged into it
once, by its own API: half a minute, and three minutes. Both are kept in the user's cache folder.
"""  # noqa: D415  the first line is to be typed

import argparse
import functools
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import CACHE, CODE, Samples, peer, ratio, said_by, table, take_turns, verdict

sys.path.insert(0, str(CODE))

from exper.config import config_file
from exper.core import paths
from exper.runs import lists, run_record

IDS = 5  # runs of one tag
FILL = """\
import json, os, sys
import mlflow
from mlflow.entities import Metric, Param
database, content, count = sys.argv[1:]
statistic = json.loads(content)
mlflow.set_tracking_uri(f"sqlite:///{database}.new")
client = mlflow.MlflowClient()
experiment = client.create_experiment("benchmark")
params = [Param(name, str(value)) for name, value in statistic["hparam"].items()]
for number in range(int(count)):
    run = client.create_run(experiment, run_name=f"tag{number}").info.run_id
    metrics = [Metric(f"{kind}/{name}", value + number / 1e6, 0, 0)
               for kind, values in statistic["metric"].items() for name, value in values.items()]
    client.log_batch(run, metrics=metrics, params=params)
    client.set_terminated(run)
os.replace(f"{database}.new", database)
"""
SEARCH = """\
import sys
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}")
found = mlflow.search_runs(experiment_names=["benchmark"])
found.to_csv(sys.argv[2])
assert len(found) == int(sys.argv[3]), found.shape
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--ten-times", action="store_true", help="one case more, with ten times as many runs (1.3 GB)")
    parser.add_argument("--folder", help="where the runs are written for a while; else where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder:
        samples = take_turns(cases(Path(folder), options.runs, options.ten_times), options.rounds)
    show(samples, options.runs)


def cases(folder: Path, runs: int, has_more: bool) -> dict[str, Callable[[], float]]:
    """Return the cases to time."""
    python = str(peer("mlflow", "mlflow-skinny", "pandas", "sqlalchemy", "alembic") / "python")
    database = make_database(python, runs)
    search = [python, "-c", SEARCH, str(database), str(folder / "found.csv"), str(runs)]
    found: dict[str, Callable[[], float]] = {}
    for count in (runs, runs // 10, *([runs * 10] if has_more else [])):
        found[f"table, {count:,} runs"] = functools.partial(
            seconds, command(make_runs(folder / str(count), count), "table")
        )
    half = make_runs(folder / "half", runs // 2)
    found[f"expls, {runs // 2:,} runs"] = functools.partial(seconds, command(half, "expls"))
    found["MLflow, search_runs"] = functools.partial(seconds, search)
    return found


def command(root: Path, *words: str) -> list[str]:
    """Return the command line as source.sh starts it."""
    return [sys.executable, "-I", str(root / "code" / "exper"), *words]


def seconds(words: list[str]) -> float:
    """Return the seconds that a command takes when its files are in memory: it has just been called."""
    said_by(words)
    started = time.monotonic()
    said_by(words)
    return time.monotonic() - started


# -- runs --------------------------------------------------------------------------------------------------------------


def make_runs(root: Path, count: int) -> Path:
    """Write a project with finished runs, all on the list record; return its root."""
    project = paths.Project(root)
    shutil.copytree(CODE / "exper", root / "code" / "exper", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CODE / "requirements.txt", root / "code")
    record = run_record.new("", "0" * 40, 0, 2)
    record = run_record.end(run_record.begin(record, ["run", "tag"]), "finished", 0)
    draw = random.Random(0)  # noqa: S311  no secret
    names = []
    for number in range(count):
        run = project.tag(f"tag{number // IDS}").run(number % IDS)
        run.folder.mkdir(parents=True)
        run.record.write_text(json.dumps(record | {"tag": run.tag, "id": run.id, "seed": number}, indent=2))
        run.statistic.write_text(json.dumps(statistic(draw), indent=2))
        run.lock.touch()
        names.append(f"{run}\n")
    project.lists.mkdir(parents=True)
    project.list_file(lists.RECORD).write_text("".join(names))
    return root


def statistic(draw: random.Random) -> dict[str, Any]:
    """Return the content of statistic.json as the template writes it, with other numbers."""
    hparam = config_file.flatten(config_file.read((CODE / "config.py").read_bytes()))
    hparam = hparam | {"optimizer.lr": draw.choice([1e-5, 0.003, 0.01])}
    names = {"last": "train val", "best": "train val", "test": "test"}
    metric = {
        kind: {"epoch": 10} | {f"{split}/{name}": draw.random() for split in splits.split() for name in ("loss", "acc")}
        for kind, splits in names.items()
    }
    data = {"name": "digits", "size": {"train": 1257, "val": 270, "test": 270}, "fingerprint": "0" * 64}
    device = {"name": "CPU", "threads": 2, "cpu_capability": "AVX512", "processes": 1, "deterministic": True}
    return {"format": 1, "hparam": hparam, "data": data, "device": device, "metric": metric}


def make_database(python: str, runs: int) -> Path:
    """Return MLflow's database of as many runs, filled if need be."""
    version = said_by([python, "-c", "import mlflow; print(mlflow.__version__)"])
    path = CACHE / f"mlflow-{version}-{runs}.db"
    if not path.exists():
        print(f"logging {runs:,} runs into {path}", file=sys.stderr)
        Path(f"{path}.new").unlink(missing_ok=True)
        said_by([python, "-c", FILL, str(path), json.dumps(statistic(random.Random(0))), str(runs)])  # noqa: S311
    return path


# -- what came out -------------------------------------------------------------------------------------------------


def show(samples: Samples, runs: int) -> None:
    """Print medians, ratios and the figures to hold."""
    peer_name = "MLflow, search_runs"
    ours = f"table, {runs:,} runs"
    listing = f"expls, {runs // 2:,} runs"
    rows = [
        [name, f"{min(values):.2f}", f"{statistics.median(values):.2f}", f"{ratio(samples, name, peer_name):.2f}"]
        for name, values in samples.items()
    ]
    table(f"{runs:,} runs, whole processes", ["", "min s", "median s", f"of {peer_name}"], rows)
    print()
    verdict(f"{ours}, seconds", statistics.median(samples[ours]), 1.0)
    verdict(f"{listing}, seconds", statistics.median(samples[listing]), 0.5)


if __name__ == "__main__":
    main()
