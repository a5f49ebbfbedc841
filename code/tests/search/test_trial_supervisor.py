"""The supervisor of a trial: how it begins a run, and when it starts training cold."""

import os

import pytest

from exper.search import server as warm
from tests.support import manager
from tests.support.laboratory import SHOWS, Laboratory
from tests.support.manager import log

pytestmark = pytest.mark.usefixtures("same_environment")


def test_it_starts_cold_where_warm_would_not_be_the_same(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("shows", SHOWS)
    laboratory.warm(server, "shows/0")
    laboratory.warm(server, "shows/1", threads=1)
    laboratory.warm(server, "shows/2", environment={"PYTHONPATH": "relative"})
    laboratory.write("shadows", SHOWS, queue="from _queue import *\nclass Queue: pass\nclass LifoQueue: pass\n")
    laboratory.warm(server, "shadows/0")
    names = ["shows/0", "shows/1", "shows/2", "shadows/0"]
    assert [log(laboratory.project, name)[0] for name in names] == ["warm", "cold", "cold", "cold"]


def test_ids_after_the_first_are_begun_at_once_in_any_order(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("ids", "import os\nprint(os.environ['EXPER_SEED'], os.environ['CUDA_VISIBLE_DEVICES'])\n")
    gpu = {"CUDA_VISIBLE_DEVICES": "1"}
    assert warm.wait_for_report(server.start(laboratory.request("ids/0", seed=10, environment=gpu))) == {}
    pipes = [server.start(laboratory.request(f"ids/{n}", seed=n + 10, environment=gpu)) for n in (3, 1, 2)]
    assert [warm.wait_for_report(pipe) for pipe in pipes] == [{}] * 3
    assert [log(laboratory.project, f"ids/{n}") for n in range(4)] == [[f"{n + 10} 1"] for n in range(4)]
    assert manager.record(laboratory.project, "ids/2")["environment"]["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not laboratory.project.tag("ids").snapshot.exists()
    assert laboratory.project.tag("ids").last_id.read_text() == "3\n"


def test_a_refusal_is_reported_and_nothing_is_left(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("refuses", manager.REFUSES)
    assert warm.wait_for_report(server.start(laboratory.request("refuses/0"))) == {"refused": "lr must be above 0."}
    assert laboratory.project.tag("refuses").runs() == []
    answer = warm.wait_for_report(server.start(laboratory.request("refuses/0", commit="0" * 40)))
    assert "moved" in answer["refused"]


def test_what_is_wrong_with_us_is_reported_with_its_traceback(laboratory: Laboratory, server: warm.Server) -> None:
    answer = warm.wait_for_report(server.start({"tag": "nothing"}))
    assert "KeyError" in answer["bug"]


def test_a_finished_run_is_not_repeated(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("once", SHOWS)
    for _ in range(2):
        laboratory.warm(server, "once/0")
    assert len(manager.record(laboratory.project, "once/0")["sessions"]) == 1
