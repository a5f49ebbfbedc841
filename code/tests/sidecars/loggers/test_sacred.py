"""Sacred's files, in its own form."""

import json
from pathlib import Path
from typing import Any

import pytest

from exper.core import paths
from tests.conftest import copy_project, isolate
from tests.support import manager, sending
from tests.support.manager import exper, record, state, wait_for

# What Sacred 0.8.7's FileStorageObserver writes.
_RUN = {
    *("artifacts", "command", "experiment", "heartbeat", "host", "meta", "resources", "result", "start_time"),
    *("status", "stop_time"),
}
_EXPERIMENT = {"base_dir", "dependencies", "mainfile", "name", "repositories", "sources"}


def read(project: paths.Project, name: str, number: int = 1) -> Any:
    return json.loads((project.sacred / str(number) / f"{name}.json").read_text())


def check(project: paths.Project, run: paths.Run) -> None:
    """Make sure that Sacred has every point once."""
    metrics = read(project, "metrics")
    for name in ("train/loss", "val/loss", "lr"):
        assert metrics[name]["steps"] == [line["step"] for line in sending.history(run)]
        assert metrics[name]["values"] == [line[name] for line in sending.history(run)]
        assert len(metrics[name]["timestamps"]) == len(metrics[name]["steps"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, _template: Path) -> paths.Project:
    """Return a project with two finished runs, base/0 and base/1."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("home") / "home")
        project = copy_project(paths.Project(_template), tmp_path_factory.mktemp("finished") / "project")
        (project.code / "model.py").write_text("print('a model')\n")
        run = sending.prepare(project, ["sacred"])
        for command in ("run", "rerun"):
            exper(project, command, "base")
            sending.wait_sent(run)
            sending.wait_sent(manager.the_run(project, "base/1"))
        return project


def test_its_files_are_those_of_a_file_storage_observer(finished: paths.Project) -> None:
    project = finished
    check(project, manager.the_run(project, "base/0"))
    about = record(project, "base/0")
    found = read(project, "run")
    assert found.keys() >= _RUN
    assert found["experiment"].keys() == _EXPERIMENT
    assert found["status"] == "COMPLETED"
    assert found["result"] == {"test/loss": 0.5}
    assert found["command"] == "run base"
    assert found["experiment"]["repositories"][0]["commit"] == about["commit"]
    sources = dict(found["experiment"]["sources"])
    assert set(sources) == {"code/config.py", "code/main.py", "code/model.py"}
    assert (project.sacred / sources["code/model.py"]).read_text() == "print('a model')\n"
    assert set(found["artifacts"]) == {"20_note.txt", "statistic.json", "exper.json"}
    assert (project.sacred / "1" / "20_note.txt").read_text() == "a text"
    config = read(project, "config")
    assert config["model"] == {"name": "lenet", "dropout": 0.4}
    assert (config["seed"], config["tag"], config["id"]) == (about["seed"], "base", 0)
    assert "run base: base/0, session 1" in (project.sacred / "1" / "cout.txt").read_text()


def test_a_run_that_goes_on_after_a_kill_is_the_same_one(project: paths.Project) -> None:
    run = sending.prepare(project, ["sacred"], save=2, stop=4)
    with manager.training(project, "run", "base") as (supervisor, pid):
        wait_for(
            lambda: (
                (project.sacred / "1" / "metrics.json").exists() and len(read(project, "metrics")["lr"]["steps"]) == 4
            )
        )
        assert read(project, "run")["status"] == "RUNNING"
        sending.kill(run, supervisor.pid, pid)
        wait_for(lambda: state(project, "base/0") == "died")
    exper(project, "continue", "base")
    sending.wait_sent(run)
    check(project, run)
    assert read(project, "run")["status"] == "COMPLETED"
    assert sorted(path.name for path in project.sacred.iterdir()) == ["1", "_sources"]


def test_every_run_has_its_own_number(finished: paths.Project) -> None:
    assert [read(finished, "run", number)["meta"]["exper"]["run"] for number in (1, 2)] == ["base/0", "base/1"]


@pytest.mark.parametrize(("status", "theirs"), [("failed", "FAILED"), ("interrupted", "INTERRUPTED")])
def test_it_is_told_how_a_run_ended(project: paths.Project, status: str, theirs: str) -> None:
    run = sending.prepare(project, ["sacred"], stop=2)
    with manager.training(project, "run", "base") as (supervisor, _):
        if status == "failed":
            (run.folder / "go").touch()
        else:
            supervisor.terminate()
        supervisor.wait(20)
    sending.wait_sent(run)
    assert state(project, "base/0") == status
    assert read(project, "run")["status"] == theirs
