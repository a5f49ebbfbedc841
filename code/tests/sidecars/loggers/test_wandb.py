"""Runs in W&B: its files, read directly and by its own `wandb sync`, and the requests of its client.

A small server of ours takes the requests; W&B's own server can't be installed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exper.core import paths
from exper.sidecars.loggers import wandb_file
from tests.support import manager, sending, wandb_server
from tests.support.manager import exper, record, state, wait_for

wandb = pytest.importorskip("wandb")
KEY = "0123456789" * 4


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


def environment(server: wandb_server.Server) -> dict[str, str]:
    return os.environ | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}


def check_server(server: wandb_server.Server, run: paths.Run) -> None:
    """Make sure that the server has every line once."""
    [found] = server.lines.values()
    for name in ("step", "epoch", "train/loss", "val/loss", "lr"):
        assert [found[number][name] for number in sorted(found)] == [line[name] for line in sending.history(run)]


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
        wait_for(lambda: sending.arrived(run, "wandb") == 4, 60)
        sending.kill(run, supervisor.pid, pid)
        wait_for(lambda: state(project, "base/0") == "died")
    exper(project, "continue", "base")
    sending.send_all(run)
    check(run)
    with wandb_server.served() as server:
        folders = [str(path.parent) for path in files(run)]
        words = [sys.executable, "-m", "wandb", "sync", *folders]
        subprocess.run(words, cwd=project.root, env=environment(server), check=True, capture_output=True, timeout=90)
        check_server(server, run)
    ids = {one.run.run_id for path in files(run) for one in read(path) if one.HasField("run")}
    assert len(ids) == 1


def test_online_what_a_failing_server_has_missed_is_sent_later(
    project: paths.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server.served() as server:
        run = sending.prepare(project, [{"name": "wandb", "mode": "online", "base_url": server.url}], stop=4)
        with manager.training(project, "run", "base") as (supervisor, _):
            wait_for(lambda: any(map(len, server.lines.values())), 60)
            server.fault = "500"
            (run.folder / "on").touch()
            (run.folder / "go").touch()
            assert supervisor.wait(30) == 0
        sending.wait_sent(run)
        server.fault = ""
        sending.send_all(run)
        check_server(server, run)
        assert set(server.names.values()) == {"base/0"}
    assert state(project, "base/0") == "finished"
    every = [path for path in project.result.rglob("*") if path.is_file()]
    assert [path for path in every if KEY.encode() in path.read_bytes()] == []
