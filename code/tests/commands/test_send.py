import pytest

from exper.core import paths
from tests.support import elastic, manager, sending
from tests.support.manager import exper, refused, state, the_run, write


@pytest.fixture(autouse=True)
def _needs_package() -> None:
    pytest.importorskip("elasticsearch")


def logger(server: elastic.Elastic) -> list[object]:
    return ["tensorboard", {"name": "elasticsearch", "url": server.url}]


def test_what_a_server_that_was_down_has_missed_is_sent_once(project: paths.Project) -> None:
    server = elastic.Elastic()
    server.stop()
    run = sending.prepare(project, logger(server))
    done = exper(project, "run", "base")
    assert state(project, "base/0") == "finished"
    lines = [line for line in run.log.read_text().splitlines() if "records wait" in line]
    assert len(lines) == 1
    assert lines[0].endswith("8 records wait. Later: exper send base/0")
    assert lines[0] in done.stdout
    sending.wait_sent(run)
    assert exper(project, "send", "base/0", code=1).stdout.count("8 records wait") == 1

    server = elastic.Elastic(server.port)
    try:
        assert exper(project, "send", "base").stdout == "base/0: elasticsearch has received 8 records\n"
        assert [document["epoch"] for document in server.of("history")] == [1, 2, 3, 4, 5, 6]
        assert exper(project, "send", "base/0").stdout == "base/0: nothing to send\n"
        assert set(server.writes.values()) == {1}
    finally:
        server.stop()


def test_a_live_run_is_refused(project: paths.Project) -> None:
    with elastic.served() as server:
        run = sending.prepare(project, logger(server), stop=2)
        with manager.training(project, "run", "base"):
            assert "base/0 is running" in refused(project, "send", "base/0")
        sending.wait_sent(run)


def test_of_several_those_that_cannot_be_sent_are_skipped(trained: paths.Project) -> None:
    exper(trained, "rerun", "base")
    the_run(trained, "base/1").record.write_text("{")
    done = exper(trained, "send", "base", code=1)
    assert done.stdout == "base/0: nothing to send\n"
    assert "1/run.json is damaged" in done.stderr
    assert "1/run.json is damaged" in refused(trained, "send", "base/1")
    write(trained, main=manager.SLEEPS)
    with manager.training(trained, "run", "other"):
        done = exper(trained, "send", "other", "base/0", code=1)
    assert done.stdout == "base/0: nothing to send\n"
    assert "other/0 is running, and its loggers still send" in done.stderr


def test_unknown_runs_are_refused_and_unknown_entries_of_lists_skipped(trained: paths.Project) -> None:
    assert "no run has the tag 'bose'" in refused(trained, "send", "bose")
    trained.lists.mkdir(parents=True, exist_ok=True)
    trained.list_file("mine").write_text("base/0\ngone/3\n")
    done = exper(trained, "send", "mine", code=1)
    assert done.stdout == "base/0: nothing to send\n"
    assert "gone/3" in done.stderr


def test_nothing_is_sent_of_a_stranger_s_run(project: paths.Project) -> None:
    write(project, config="logger = {'a': 1}\n")
    exper(project, "run", "base")
    assert exper(project, "send", "base/0").stdout == "base/0: nothing to send\n"
