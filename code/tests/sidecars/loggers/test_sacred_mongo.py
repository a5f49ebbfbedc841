"""Documents for Omniboard, in a stand-in for MongoDB: no package registry has a real server."""

from pathlib import Path
from typing import Any

import pytest

from exper.core import files, paths
from exper.sidecars import loggers, outbox
from exper.sidecars.loggers import run_info
from exper.sidecars.loggers.run_info import Item, Line
from tests.conftest import copy_project, isolate
from tests.support import sending
from tests.support.manager import exper, record

mongomock = pytest.importorskip("mongomock")
pymongo = pytest.importorskip("pymongo")
_PART = {"name": "sacred", "storage": "mongo", "url": "mongodb://example"}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Any:
    from mongomock import gridfs

    gridfs.enable_gridfs_integration()
    client = mongomock.MongoClient()
    monkeypatch.setattr(pymongo, "MongoClient", lambda *_, **__: client)
    return client["sacred"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, _template: Path) -> paths.Run:
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("home") / "home")
        project = copy_project(paths.Project(_template), tmp_path_factory.mktemp("run") / "project")
        run = sending.prepare(project, ["tensorboard"])
        exper(project, "run", "base")
        return run


def lines(run: paths.Run) -> list[Line]:
    return [Line("history", number, content) for number, content in enumerate(files.read_lines(run.history))]


def begun(run: paths.Run) -> Any:
    logger = loggers.build(_PART, run_info.read(run))
    logger.start({})
    return logger


def test_config_metrics_sources_and_artifacts_are_where_omniboard_looks(run: paths.Run, database: Any) -> None:
    logger = begun(run)
    logger.log(lines(run))
    for name in outbox.shown(run):
        logger.show(Item(run.shown / name))
    logger.finish(run_info.read(run).end("finished"))
    [found] = database["runs"].find()
    assert found["_id"] == 1
    assert found["status"] == "COMPLETED"
    assert found["heartbeat"] >= found["start_time"]
    assert found["config"]["model"]["dropout"] == 0.4
    assert found["config"]["commit"] == record(run.project, "base/0")["commit"]
    assert "run base: base/0, session 1" in found["captured_out"]
    curves = {one["name"]: one for one in database["metrics"].find({"run_id": 1})}
    assert curves["val/loss"]["steps"] == [10, 20, 30, 40, 50, 60]
    assert curves["val/loss"]["values"] == [2 / epoch for epoch in range(1, 7)]
    assert curves["test/loss"]["values"] == [0.5]
    assert {one["name"]: one["id"] for one in found["info"]["metrics"]} == {
        name: str(one["_id"]) for name, one in curves.items()
    }
    kept = {file["_id"]: file["filename"] for file in database["fs.files"].find()}
    assert {kept[file] for _, file in found["experiment"]["sources"]} == {"code/config.py", "code/main.py"}
    assert {kept[one["file_id"]] for one in found["artifacts"]} >= {"artifact://runs/1/20_note.txt"}


def test_what_has_arrived_is_not_sent_again(run: paths.Run, database: Any) -> None:
    begun(run).log(lines(run)[:4])
    again = begun(run)
    again.log(again.missing(lines(run)))
    assert database["runs"].count_documents({}) == 1
    assert [one["steps"] for one in database["metrics"].find({"name": "lr"})] == [[10, 20, 30, 40, 50, 60]]


def test_the_next_run_has_the_next_number(run: paths.Run, database: Any) -> None:
    database["runs"].insert_one({"_id": 41})
    begun(run)
    assert sorted(one["_id"] for one in database["runs"].find()) == [41, 42]
