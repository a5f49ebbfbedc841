from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from exper.training.records.event_file import Events


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


OPEN: list[Events] = []


def begun(folder: Path, position: tuple[str, int] | None, step: int) -> Events:
    OPEN.append(Events(folder, position, step))
    return OPEN[-1]


def points(multiplexer: EventMultiplexer) -> list[tuple[int, float]]:
    multiplexer.Reload()
    events = multiplexer.Tensors("run", "train/loss")
    return [(event.step, event.tensor_proto.float_val[0]) for event in events]


def watching(folder: Path) -> EventMultiplexer:
    return EventMultiplexer().AddRun(str(folder), "run")


def write(events: Events, steps: range, value: float) -> None:
    for step in steps:
        events.write(step, {"train/loss": value})


def expected(*branches: tuple[range, float]) -> list[tuple[int, float]]:
    return [(step, value) for steps, value in branches for step in steps]


def test_fresh_and_running_tensorboards_see_one_curve_after_a_continue(tmp_path: Path) -> None:
    events = begun(tmp_path, None, 0)
    write(events, range(1, 6), 1.0)
    position = events.position()
    write(events, range(6, 9), 1.0)
    running = watching(tmp_path)
    assert points(running) == expected((range(1, 9), 1.0))

    again = begun(tmp_path, position, 5)
    write(again, range(6, 8), 2.0)
    now = expected((range(1, 6), 1.0), (range(6, 8), 2.0))
    assert points(running) == now
    assert points(watching(tmp_path)) == now


def test_they_see_one_curve_after_continuing_twice_from_a_checkpoint(tmp_path: Path) -> None:
    events = begun(tmp_path, None, 0)
    write(events, range(1, 6), 1.0)
    position = events.position()
    running = watching(tmp_path)
    for value in (2.0, 3.0, 4.0):
        points(running)
        again = begun(tmp_path, position, 5)
        write(again, range(6, 9), value)
        now = expected((range(1, 6), 1.0), (range(6, 9), value))
        assert points(running) == now
        assert points(watching(tmp_path)) == now


def test_they_see_one_curve_after_a_restart_from_nothing(tmp_path: Path) -> None:
    write(begun(tmp_path, None, 0), range(1, 6), 1.0)
    running = watching(tmp_path)
    points(running)
    write(begun(tmp_path, None, 0), range(1, 4), 2.0)
    assert points(running) == points(watching(tmp_path)) == expected((range(1, 4), 2.0))


def test_a_torn_last_event_is_cut_off(tmp_path: Path) -> None:
    events = begun(tmp_path, None, 0)
    write(events, range(1, 6), 1.0)
    position = events.position()
    with open(tmp_path / position[0], "ab") as file:
        file.write(b"\x20\0\0\0")
    write(begun(tmp_path, position, 5), range(6, 8), 1.0)
    assert points(watching(tmp_path)) == expected((range(1, 8), 1.0))


def test_a_file_that_lost_its_end_is_left_as_it_is(tmp_path: Path) -> None:
    events = begun(tmp_path, None, 0)
    write(events, range(1, 3), 1.0)
    name, size = events.position()
    write(begun(tmp_path, (name, size + 500), 5), range(6, 8), 1.0)
    assert points(watching(tmp_path)) == expected((range(1, 3), 1.0), (range(6, 8), 1.0))
