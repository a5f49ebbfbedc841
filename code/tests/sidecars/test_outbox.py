"""The records of a run that wait for a logger, counted from the run's files."""

import json
from pathlib import Path

import pytest

from exper.core import paths
from exper.sidecars import outbox

NOTHING_SENT: outbox.Memory = {"there": {}, "lines": {}, "tried": {}, "shown": [], "end": None}


@pytest.fixture
def run(tmp_path: Path) -> paths.Run:
    run = paths.Run(tmp_path / "base" / "0")
    run.shown.mkdir(parents=True)
    run.history.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')  # the last line is being written
    run.hardware.write_text('{"time": 1}\n')
    for name in ("10_note.txt", "9_curve.png", ".9_curve.png.new"):
        (run.shown / name).touch()
    return run


def test_whole_lines_shown_files_and_the_end_wait(run: paths.Run) -> None:
    assert outbox.memory(run, "sacred") == NOTHING_SENT
    assert outbox.waiting(run, "sacred") == 2 + 2 + 1
    assert outbox.waiting(run, "sacred", ("history", "hardware")) == 2 + 1 + 2 + 1


def test_what_is_remembered_as_sent_waits_no_more(run: paths.Run) -> None:
    run.sent.mkdir()
    sent = {"lines": {"history": 1}, "shown": ["9_curve.png"], "end": outbox.end(run)}
    outbox.remember(run, "sacred", outbox.memory(run, "sacred") | sent)
    assert outbox.waiting(run, "sacred") == 1 + 1
    assert outbox.waiting(run, "wandb") == 5


def test_a_memory_of_an_earlier_version_is_read(run: paths.Run) -> None:
    run.sent.mkdir()
    (run.sent / "sacred.json").write_text(json.dumps({"lines": {"history": 2}}))
    assert outbox.memory(run, "sacred") == NOTHING_SENT | {"lines": {"history": 2}}


def test_shown_files_are_in_the_order_of_their_steps(run: paths.Run) -> None:
    assert outbox.shown(run) == ["9_curve.png", "10_note.txt"]


def test_of_a_run_that_has_trained_nothing_no_logger_sends(tmp_path: Path) -> None:
    run = paths.Run(tmp_path / "base" / "0")
    assert outbox.loggers(run) == []
    assert outbox.shown(run) == []
    assert outbox.count(run, "history") == 0


def test_the_end_of_a_run_with_a_damaged_record_is_that(run: paths.Run) -> None:
    run.record.write_text("{")
    assert outbox.end(run) == ["damaged", 0]
