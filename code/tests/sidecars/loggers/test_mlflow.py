"""Runs in MLflow, read back with its own client and shown on its own page."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exper.core import paths
from tests.conftest import copy_project, isolate
from tests.support import browser, faults, manager, sending, tracking
from tests.support.boards import page
from tests.support.manager import exper, record, state, wait_for

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, about MLflow


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with tracking.served(tmp_path_factory.mktemp("mlflow")) as port:
        yield port


def client(uri: str) -> Any:
    return mlflow.MlflowClient(tracking_uri=uri)


def the_one(uri: str, experiment: str) -> Any:
    """Return the only run of an experiment."""
    experiment_id = client(uri).get_experiment_by_name(experiment).experiment_id
    [run] = client(uri).search_runs([experiment_id])
    return run


def points(uri: str, run: Any, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(uri).get_metric_history(run.info.run_id, name)]


def check(uri: str, experiment: str, run: paths.Run) -> Any:
    """Make sure that MLflow has every point once."""
    found = the_one(uri, experiment)
    lines = sending.history(run)
    for name in ("train/loss", "val/loss", "lr"):
        assert points(uri, found, name) == [(line["step"], line[name]) for line in lines]
    return found


def test_without_a_server_it_is_a_file_of_the_project(project: paths.Project) -> None:
    before = set(os.listdir(project.root))
    run = sending.prepare(project, ["mlflow"])
    exper(project, "run", "base")
    sending.send_all(run)
    assert state(project, "base/0") == "finished"
    assert set(os.listdir(project.root)) - before == {"__result__", "__statistic__"}
    assert not Path("mlruns").exists()
    uri = f"sqlite:///{project.mlflow / 'mlflow.db'}"
    found = check(uri, project.root.name, run)
    about = record(project, "base/0")
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "base/0"
    params = {"model.name": "lenet", "model.dropout": "0.4", "seed": str(about["seed"]), "command": "run base"}
    assert params.items() <= found.data.params.items()
    assert found.data.tags["mlflow.source.git.commit"] == about["commit"]
    assert points(uri, found, "test/loss") == [(60, 0.5)]
    artifacts = {item.path for item in client(uri).list_artifacts(found.info.run_id)}
    assert artifacts == {"statistic.json", "run.json", "log", "shown"}


@pytest.fixture(scope="module")
def continued(port: int, tmp_path_factory: pytest.TempPathFactory, _template: Path) -> paths.Run:
    """Return a finished run that was killed in its fourth epoch and continued, in the experiment "kill"."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("home") / "home")
        project = copy_project(paths.Project(_template), tmp_path_factory.mktemp("continued") / "project")
        uri = f"http://127.0.0.1:{port}"
        run = sending.prepare(project, [{"name": "mlflow", "tracking_uri": uri, "experiment": "kill"}], save=2, stop=4)
        with manager.training(project, "run", "base") as (supervisor, pid):
            wait_for(lambda: sending.arrived(run, "mlflow") == 4, 60)
            assert the_one(uri, "kill").info.status == "RUNNING"
            sending.kill(run, supervisor.pid, pid)
            wait_for(lambda: state(project, "base/0") == "died")
        exper(project, "continue", "base")
        sending.send_all(run)
        return run


@tracking.needed
def test_a_run_that_continues_after_a_kill_is_the_same_run(continued: paths.Run, port: int) -> None:
    assert check(f"http://127.0.0.1:{port}", "kill", continued).info.status == "FINISHED"


@tracking.needed
def test_answers_that_are_lost_make_nothing_arrive_twice(project: paths.Project, port: int) -> None:
    with faults.between(port) as proxy:
        proxy.fault = "cut"
        run = sending.prepare(project, [{"name": "mlflow", "tracking_uri": proxy.url, "experiment": "cut"}])
        exper(project, "run", "base")
        sending.wait_sent(run)
        for _ in range(4):  # an answer is lost at every step of the way
            exper(project, "send", "base/0", code=1)
        proxy.fault = ""
        sending.send_all(run)
    check(f"http://127.0.0.1:{port}", "cut", run)


@tracking.needed
@browser.needed
@pytest.mark.usefixtures("continued")
def test_its_page_shows_the_run_and_its_curves(port: int) -> None:
    uri = f"http://127.0.0.1:{port}"
    about = the_one(uri, "kill").info
    with page(f"{uri}/#/experiments/{about.experiment_id}/runs/{about.run_id}/model-metrics") as shown:
        shown.get_by_text("base/0").first.wait_for(timeout=60000)
        shown.get_by_text("loss").first.wait_for(timeout=60000)
        shown.wait_for_timeout(3000)
        browser.keep_picture(shown, "mlflow")
