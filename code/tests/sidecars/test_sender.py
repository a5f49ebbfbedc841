"""Whatever a server does, training has the same numbers and end, and what it missed is sent once."""

import json
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from exper.core import lock, paths
from tests.conftest import copy_project, isolate
from tests.support import elastic, manager, sending
from tests.support.manager import exper, log, refused, state, tags, wait_for, write


def elastic_logger(server: elastic.Elastic) -> list[object]:
    return ["tensorboard", {"name": "elasticsearch", "url": server.url}]


def check(run: paths.Run, server: elastic.Elastic) -> None:
    """Make sure that the server has got all there is, each once."""
    assert [document["epoch"] for document in server.of("history")] == [line["epoch"] for line in sending.history(run)]
    assert len(server.of("run")) == 1
    assert {count for name, count in server.writes.items() if not name.endswith("-run")} == {1}


@pytest.fixture
def server() -> Iterator[elastic.Elastic]:
    pytest.importorskip("elasticsearch")
    with elastic.served() as one:
        yield one


class Sent(NamedTuple):
    """A finished run whose server worked."""

    run: paths.Run
    server: elastic.Elastic
    niceness: int  # of the sender
    folder: str  # the sender's
    held: set[str]  # the sender's open files
    has_kept_lock: bool  # after training


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, _template: Path) -> Iterator[Sent]:
    pytest.importorskip("elasticsearch")
    with pytest.MonkeyPatch.context() as patch, elastic.served() as server:
        isolate(patch, tmp_path_factory.mktemp("home") / "home")
        project = copy_project(paths.Project(_template), tmp_path_factory.mktemp("sent") / "project")
        run = sending.prepare(project, elastic_logger(server), stop=3)
        with manager.training(project, "run", "base") as (supervisor, _):
            wait_for(lambda: len(server.of("history")) == 3, 60)  # sent while it trains
            [process] = sending.senders(run)
            descriptors = Path(f"/proc/{process.pid}/fd")
            held = {os.path.realpath(descriptors / name) for name in os.listdir(descriptors)}
            niceness = process.nice()
            folder = process.cwd()
            (run.folder / "on").touch()
            (run.folder / "go").touch()
            assert supervisor.wait(20) == 0
            has_kept_lock = lock.is_held(run.lock)
        sending.wait_sent(run)
        yield Sent(run, server, niceness, folder, held, has_kept_lock)


def test_a_server_that_works_has_everything_at_the_end(sent: Sent) -> None:
    check(sent.run, sent.server)
    [end] = sent.server.of("run")
    assert (end["status"], end["test/loss"]) == ("finished", 0.5)
    assert [document["text"] for document in sent.server.of("text")] == ["a text"]
    assert log(sent.run.project, "base/0") == []
    assert not sent.run.project.tag("base").snapshot.exists()


def test_the_sender_is_of_low_priority_and_holds_neither_lock_nor_terminal(sent: Sent) -> None:
    assert (sent.niceness, sent.folder) == (min(19, os.nice(0) + 10), "/")
    assert not any(name.startswith("/dev/pt") or name == str(sent.run.lock) for name in sent.held)
    assert not sent.has_kept_lock


def test_what_the_hardware_did_is_sent_to_elasticsearch_with_its_times(sent: Sent) -> None:
    sent.run.hardware.write_text('{"time": 1795270000.5, "step": 3, "cpu/percent": 50}\n')
    assert exper(sent.run.project, "send", "base/0").stdout == "base/0: elasticsearch has received 1 record\n"
    [found] = sent.server.of("hardware")
    assert found["@timestamp"] == "2026-11-21T14:06:40.500000+00:00"
    assert (found["run"], found["step"], found["cpu/percent"]) == ("base/0", 3, 50)


@pytest.mark.parametrize("fault", ["500", "hang", "slow", "cut"])
def test_a_faulty_server_changes_nothing_of_training(
    project: paths.Project, server: elastic.Elastic, fault: str
) -> None:
    server.fault = fault
    run = sending.prepare(project, elastic_logger(server))
    done = exper(project, "run", "base")
    assert state(project, "base/0") == "finished"
    assert [line["epoch"] for line in sending.history(run)] == [1, 2, 3, 4, 5, 6]
    sending.wait_sent(run)
    assert done.stdout.count("records wait") == int(fault != "slow")
    server.fault = ""
    exper(project, "send", "base/0")
    check(run, server)


def test_a_server_that_fails_midway_gets_the_rest_later(project: paths.Project, server: elastic.Elastic) -> None:
    run = sending.prepare(project, elastic_logger(server), stop=3)
    with manager.training(project, "run", "base") as (supervisor, _):
        wait_for(lambda: len(server.of("history")) == 3, 60)
        server.fault = "500"
        (run.folder / "on").touch()
        (run.folder / "go").touch()
        assert supervisor.wait(20) == 0
    sending.wait_sent(run)
    assert state(project, "base/0") == "finished"
    server.fault = ""
    exper(project, "send", "base/0")
    check(run, server)


def test_epochs_trained_again_after_a_kill_are_not_sent_again(project: paths.Project, server: elastic.Elastic) -> None:
    run = sending.prepare(project, elastic_logger(server), save=2, stop=4)
    with manager.training(project, "run", "base") as (supervisor, pid):
        wait_for(lambda: len(server.of("history")) == 4, 60)
        sending.kill(run, supervisor.pid, pid)
        wait_for(lambda: state(project, "base/0") == "died")
    exper(project, "continue", "base")
    sending.wait_sent(run)
    check(run, server)
    assert server.of("run")[0]["status"] == "finished"


def test_training_that_is_killed_is_reported_as_died(project: paths.Project, server: elastic.Elastic) -> None:
    run = sending.prepare(project, elastic_logger(server), stop=3)
    with manager.training(project, "run", "base") as (supervisor, pid):
        wait_for(lambda: sending.senders(run))
        for one in (supervisor.pid, pid):
            os.kill(one, 9)
        sending.wait_sent(run)
    assert [document["status"] for document in server.of("run")] == ["died"]


def test_a_run_that_is_removed_while_it_trains_is_not_made_again(
    project: paths.Project, server: elastic.Elastic
) -> None:
    run = sending.prepare(project, elastic_logger(server), stop=3)
    with manager.training(project, "run", "base") as (supervisor, pid):
        wait_for(lambda: len(server.of("history")) == 3, 60)
        run.folder.rename(project.root / "removed")
        os.kill(pid, 9)
        supervisor.wait(10)
        sending.wait_sent(run)
    assert not run.folder.exists()


def test_a_logger_that_hangs_does_not_hold_up_another(project: paths.Project, server: elastic.Elastic) -> None:
    server.fault = "hang"
    run = sending.prepare(project, ["sacred", {"name": "elasticsearch", "url": server.url}], stop=3)
    with manager.training(project, "run", "base") as (supervisor, _):
        metrics = project.sacred / "1" / "metrics.json"
        wait_for(lambda: metrics.exists() and json.loads(metrics.read_text())["lr"]["steps"] == [10, 20, 30])
        supervisor.kill()
    sending.wait_sent(run)


HIDE_MLFLOW = """
every = installed
installed = lambda: {name: version for name, version in every().items() if name != "mlflow-skinny"}
"""


def test_a_missing_package_is_refused_before_anything_is_tagged(project: paths.Project) -> None:
    path = project.code / "exper" / "core" / "packages.py"
    path.write_text(f"{path.read_text()}\n{HIDE_MLFLOW}")
    sending.prepare(project, ["mlflow"])
    told = refused(project, "run", "base")
    assert "the logger 'mlflow' needs the package mlflow-skinny" in told
    assert "pip install 'mlflow-skinny>=3.11' -c code/constraints.txt" in told
    assert tags(project) == []
    assert not project.tag("base").folder.exists()


@pytest.mark.parametrize(
    ("name", "setting", "variable"),
    [
        ("mlflow", "tracking_uri", "MLFLOW_TRACKING_PASSWORD"),
        ("sacred", "url", "MONGO_URI"),
        ("elasticsearch", "url", "ELASTICSEARCH_API_KEY"),
        ("wandb", "base_url", "WANDB_API_KEY"),
    ],
)
def test_a_password_in_config_is_refused_with_the_variable_to_use(
    project: paths.Project, name: str, setting: str, variable: str
) -> None:
    sending.prepare(project, [{"name": name, setting: "https://me:secret@example.org/x"}])
    told = refused(project, "run", "base")
    assert variable in told
    assert "secret" not in told
    assert tags(project) == []


@pytest.mark.parametrize(
    ("logger", "told"),
    [
        (["mlflo"], "logger: 'mlflo' is unknown. Did you mean 'mlflow'?"),
        (["sacred", {"name": "sacred"}], "logger: 'sacred' is there twice"),
        ([{"storage": "file"}], "has no name"),
        ([{"name": "sacred", "storage": "disk"}], "logger.sacred.storage = 'disk': must be 'file' or 'mongo'"),
        ([{"name": "sacred", "folder": "x"}], "logger.sacred: 'folder' is unknown"),
        ([{"name": "picture", "size": 3}], "logger.picture: 'size' is unknown"),
    ],
)
def test_a_wrong_logger_is_refused_and_burns_no_tag(project: paths.Project, logger: object, told: str) -> None:
    sending.prepare(project, logger)
    body = "from exper.core.errors import Refused\ntry:\n" + textwrap.indent(sending.TRAINS, "    ")
    refuse = """\
except Refused as error:
    (run / "refused").write_text(str(error))
    sys.exit(2)
"""
    write(project, main=body + refuse)
    assert told in refused(project, "run", "base")
    assert tags(project) == []


def test_no_secret_of_the_environment_is_recorded(
    project: paths.Project, server: elastic.Elastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELASTICSEARCH_USERNAME", "me")
    monkeypatch.setenv("ELASTICSEARCH_PASSWORD", "hunter2")
    run = sending.prepare(project, elastic_logger(server))
    exper(project, "run", "base")
    sending.wait_sent(run)
    assert server.secrets == {"Basic bWU6aHVudGVyMg=="}
    found = [path for path in project.result.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert found == []


def test_a_verification_is_not_sent(project: paths.Project) -> None:
    run = sending.prepare(project, ["sacred"])
    exper(project, "run", "base")
    sending.wait_sent(run)
    exper(project, "verify", "base/0")
    assert sorted(os.listdir(project.sacred)) == ["1", "_sources"]
    metrics = json.loads((project.sacred / "1" / "metrics.json").read_text())
    assert metrics["lr"]["steps"] == [10, 20, 30, 40, 50, 60]
