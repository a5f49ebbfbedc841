"""run.json: what is refused, what every old record may lack, and its sessions."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from exper.core import host_info, paths
from exper.core.errors import Refused
from exper.runs import run_record

OLDEST = {"format": 1, "status": "running", "seed": 1, "started": "2026-01-01", "sessions": [{"started": "2026-01-01"}]}


@pytest.fixture
def run(tmp_path: Path) -> paths.Run:
    """Return the folder of a run without a record."""
    (tmp_path / "base" / "0").mkdir(parents=True)
    return paths.Run(tmp_path / "base" / "0")


def _begun() -> run_record.Record:
    return run_record.begin(run_record.new("base", "abc", 1, 2) | {"id": 0}, ["run", "base"])


def test_a_record_of_format_1_with_the_fewest_keys_is_read(run: paths.Run) -> None:
    run.record.write_text(json.dumps(OLDEST))
    assert run_record.read(run) == OLDEST


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"format": 10**6}, "made by a newer Exper"), ({"format": "1"}, "'format' is missing or no int"),
     ({"seed": None}, "'seed' is missing or no int"), ({"status": 3}, "'status' is missing or no str"),
     ({"sessions": {}}, "'sessions' is missing or no list"), ({"sessions": []}, "'sessions' tells of none"),
     ({"sessions": [{}]}, "'sessions' tells of none"), ({"job": 7}, "'job' is missing or no dict"),
     ({"versions": None}, "'versions' is missing or no dict")],
)  # fmt: skip
def test_a_damaged_or_newer_record_is_refused(run: paths.Run, changes: dict[str, Any], message: str) -> None:
    run.record.write_text(json.dumps(OLDEST | changes))
    with pytest.raises(Refused, match=message):
        run_record.read(run)


def test_a_missing_record_is_refused(run: paths.Run) -> None:
    with pytest.raises(Refused, match=r"base/0 has no run.json"):
        run_record.read(run)


def test_a_later_session_keeps_the_first_start_and_every_session(run: paths.Run) -> None:
    first = run_record.end(_begun(), "failed", 1)
    second = run_record.begin(first, ["continue", "base/0"])
    run_record.write(run, second)
    record = run_record.read(run)
    assert [session["command"] for session in record["sessions"]] == [["run", "base"], ["continue", "base/0"]]
    assert record["started"] == record["sessions"][0]["started"]
    assert (record["status"], record["exit_code"]) == ("running", None)


def test_a_queued_session_becomes_the_one_that_runs(run: paths.Run) -> None:
    job = {"id": "7", "cluster": "here"}
    queued = run_record.begin(run_record.new("base", "abc", 1, 2), ["submit", "base"], "queued")
    record = run_record.begin(run_record.give_job(queued, job), ["continue", "base/0"])
    (session,) = record["sessions"]
    assert (session["status"], session["command"], session["job"]) == ("running", ["submit", "base"], job)


def test_unqueue_undoes_queue_again() -> None:
    interrupted = run_record.end(_begun(), "interrupted", 138)
    again = run_record.queue_again(interrupted)
    assert (again["status"], len(again["sessions"])) == ("queued", 2)
    assert run_record.unqueue(again) == interrupted


@pytest.mark.parametrize(
    ("status", "returncode", "ending"),
    [("finished", 0, "finished"), ("failed", 3, "failed (exit code 3)"), ("interrupted", 130, "interrupted"),
     ("failed", -signal.SIGKILL, "failed (killed by SIGKILL)"), ("failed", -40, "failed (killed by signal 40)")],
)  # fmt: skip
def test_the_ending_names_exit_code_or_signal(status: str, returncode: int, ending: str) -> None:
    assert run_record.ending(run_record.end(_begun(), status, returncode)) == ending


def test_only_required_packages_and_python_are_compared() -> None:
    recorded = {"python": "3.0", "pytest": "0", "other": "1"}
    lines = run_record.different_versions(recorded, {"pytest"}, exact=False)
    installed = host_info.versions()
    assert lines == [f"pytest 0 -> {installed['pytest']}", f"python 3.0 -> {installed['python']}"]
    with pytest.raises(Refused, match="versions differ from the recorded run: pytest 0"):
        run_record.different_versions(recorded, {"pytest"}, exact=True)


def test_nan_equals_nan_and_the_last_digit_counts() -> None:
    assert run_record.is_equal({"a": [float("nan"), 1]}, {"a": [float("nan"), 1]})
    assert not run_record.is_equal(0.1 + 0.2, 0.3)


@pytest.mark.parametrize("text", [None, "", "yesterday", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_none(text: object) -> None:
    assert run_record.time(text) is None
