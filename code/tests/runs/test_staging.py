"""Staging folders: they become runs, or vanish, and only abandoned ones are swept."""

import os
from pathlib import Path

import pytest

from exper.core import lock, paths
from exper.core.errors import Refused
from exper.runs import staging


@pytest.fixture
def project(tmp_path: Path) -> paths.Project:
    """Return a project without any run."""
    return paths.Project(tmp_path)


def test_a_folder_that_is_not_renamed_vanishes_with_its_tag(project: paths.Project) -> None:
    with staging.new(project, project.tag("base")) as (folder, _):
        assert lock.is_held(folder / "lock")
    assert not project.tag("base").folder.exists()


def test_a_renamed_folder_stays_and_keeps_its_lock(project: paths.Project) -> None:
    run = project.tag("base").run(0)
    with staging.new(project, run.project.tag("base")) as (folder, held):
        folder.rename(run.folder)
    assert lock.is_held(run.lock)
    os.close(held)


def test_a_killed_command_s_folder_is_swept_and_a_locked_one_is_not(project: paths.Project) -> None:
    tag = project.tag("base")
    with staging.new(project, tag) as (live, _):
        abandoned = tag.folder / f".new-{staging.unique_name()}"
        abandoned.mkdir()
        assert staging.leftovers(tag) == [abandoned]
        staging.sweep(tag)
        assert (abandoned.exists(), live.exists()) == (False, True)


def test_another_host_s_folder_is_abandoned_after_an_hour_without_a_heartbeat(project: paths.Project) -> None:
    folder = project.tag("base").folder / ".new-another"
    folder.mkdir(parents=True)
    assert not staging.is_abandoned(folder, folder / "lock")
    (folder / "heartbeat").touch()
    os.utime(folder, (0, 0))
    assert not staging.is_abandoned(folder, folder / "lock")
    os.utime(folder / "heartbeat", (0, 0))
    assert staging.is_abandoned(folder, folder / "lock")


def test_a_place_where_nothing_can_be_made_is_refused(project: paths.Project) -> None:
    project.result.mkdir()
    project.tag("base").folder.write_text("a file")
    with pytest.raises(Refused, match="no run can be put into"):  # noqa: SIM117
        with staging.new(project, project.tag("base")):
            pass
