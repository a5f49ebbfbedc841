"""What W&B has of a run, read back from its own files by its own reader."""

import json
from pathlib import Path
from typing import Any

import pytest

from exper import paths
from exper.training.loggers import wandb_file
from tests import manager, sending
from tests.manager import exper, record, state, wait_for

wandb = pytest.importorskip("wandb")


def files(run: paths.Run) -> list[Path]:
    return sorted(run.folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)


def read(path: Path) -> list[Any]:
    """Return the records of a file."""
    from wandb.proto.wandb_internal_pb2 import Record

    return [Record.FromString(one) for one in wandb_file.records(path)]


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def lines(run: paths.Run) -> list[dict[str, Any]]:
    every = [one for path in files(run) for one in read(path) if one.HasField("history")]
    return [values(one.history.item) for one in every]


def check(run: paths.Run) -> None:
    """Make sure that the files have every line once."""
    found = lines(run)
    for name in ("step", "epoch", "train/loss", "val/loss", "lr"):
        assert [line[name] for line in found] == [line[name] for line in sending.history(run)]


def test_offline_is_a_folder_of_the_run(project: paths.Project) -> None:
    run = sending.prepare(project, ["wandb"])
    exper(project, "run", "base")
    sending.send_all(run)
    assert state(project, "base/0") == "finished"
    check(run)
    [path] = files(run)
    [about] = [one.run for one in read(path) if one.HasField("run")][:1]
    config = values(about.config.update)
    assert about.display_name == "base/0"
    assert about.run_group == "base"
    assert config["model"] == {"name": "lenet", "dropout": 0.4}
    assert config["commit"] == record(project, "base/0")["commit"]
    assert [one.exit.exit_code for one in read(path) if one.HasField("exit")] == [0]
    assert sending.sent(run, "wandb")["end"] == ["finished", 1]


def test_a_run_that_goes_on_after_a_kill_has_every_line_once(project: paths.Project) -> None:
    run = sending.prepare(project, ["wandb"], save=2, stop=4)
    with manager.training(project, "run", "base") as (supervisor, pid):
        wait_for(
            lambda: (run.sent / "wandb.json").exists() and sending.sent(run, "wandb")["lines"] == {"history": 4}, 60
        )
        sending.kill(run, supervisor.pid, pid)
        wait_for(lambda: state(project, "base/0") == "died")
    exper(project, "continue", "base")
    sending.send_all(run)
    check(run)
    ids = {one.run.run_id for path in files(run) for one in read(path) if one.HasField("run")}
    assert len(ids) == 1
