"""TensorBoard's HParams tab: what its page asks for, answered by a real TensorBoard."""

import json
from typing import Any

from exper.core import paths
from exper.statistic import rows
from tests.support import boards, manager
from tests.support.boards import opened, post
from tests.support.manager import exper, the_run, wait_for, write

PLUGIN = "experiment/defaultExperimentId/data/plugin/hparams/"
STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
ALL = {"startIndex": 0, "sliceSize": 100, "allowedStatuses": STATUSES, "colParams": []}
# What torch's SummaryWriter.add_hparams leaves.
THEIR_OWN = """\
import os, pathlib
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
writer = EventFileWriter(str(pathlib.Path(os.environ["EXPER_RUN"], "tensorboard")))
writer.add_event(Event(summary=hparams_pb({"their.lr": 0.5})))
writer.add_event(Event(summary=Summary(value=[Summary.Value(tag="their/acc", simple_value=0.25)])))
writer.close()
"""


def columns(address: str) -> list[str]:
    found = post(address, PLUGIN + "experiment", {})
    settings = [one["name"] for one in found.get("hparamInfos", [])]
    return settings + [one["name"]["tag"] for one in found.get("metricInfos", [])]


def cells(address: str, **request: Any) -> dict[str, dict[str, Any]]:
    """Return the cells of each run on the page by column, with its status under `status`."""
    found = {}
    for group in post(address, PLUGIN + "session_groups", ALL | request).get("sessionGroups", []):
        metrics = {one["name"]["tag"]: one["value"] for one in group.get("metricValues", [])}
        session = group["sessions"][0]
        found[session["name"]] = group["hparams"] | metrics | {"status": session["status"]}
    return found


def test_names_and_numbers_are_those_of_the_table(project: paths.Project) -> None:
    write(project, main=boards.CURVES)
    exper(project, "run", "base")
    row = rows.of(the_run(project, "base/0"))
    with opened(project, "base") as (address, _):
        assert sorted(columns(address)) == sorted(name for name in row if "/" in name)
        shown = cells(address)["base/0"]
        assert shown["hparam/optimizer.lr"] == 0.1
        assert shown["hparam/flag"] is True
        assert shown["hparam/sizes"] == "[1, 2]"
        assert shown["metric/best/val/acc"] == 0.1 + 0.2  # an event file would keep 32 bits of it
        assert shown["status"] == "STATUS_SUCCESS"


def test_a_setting_that_is_none_in_some_runs_is_comparable_text(project: paths.Project) -> None:
    write(project, main=boards.CURVES)
    exper(project, "run", "base")
    exper(project, "rerun", "base")
    with opened(project, "base") as (address, _):
        sort = [{"hparam": "hparam/clip", "order": "ORDER_DESC", "missingValuesFirst": False}]
        shown = cells(address, colParams=sort)
        assert [(run, shown[run]["hparam/clip"]) for run in shown] == [("base/0", "None"), ("base/1", "1.0")]


def test_metrics_come_when_a_run_has_finished(project: paths.Project) -> None:
    write(project, main=boards.CURVES + "ready()\nseconds_until('go')\n")
    with manager.training(project, "run", "base"), opened(project, "base") as (address, _):
        assert "metric/best/val/acc" not in cells(address)["base/0"]
        assert cells(address)["base/0"]["status"] == "STATUS_RUNNING"
        (the_run(project, "base/0").folder / "go").touch()
        wait_for(lambda: "metric/best/val/acc" in cells(address)["base/0"])


def test_runs_that_failed_or_are_damaged_show_no_metric(project: paths.Project) -> None:
    write(project, main=boards.CURVES + "sys.exit(int(run.name))\n")
    exper(project, "run", "base")
    exper(project, "rerun", "base", code=1)
    exper(project, "run", "torn")
    the_run(project, "torn/0").statistic.write_text('{"hparam": {"a"')
    with opened(project) as (address, _):
        shown = cells(address)
        assert "metric/best/val/acc" in shown["base/0"]
        assert not any(name.startswith("metric/") for name in shown["base/1"])
        assert shown["base/1"]["status"] == "STATUS_FAILURE"
        assert "torn/0" not in shown


def test_what_a_stranger_has_written_for_the_tab_stays(project: paths.Project) -> None:
    write(project, main=THEIR_OWN)
    exper(project, "run", "theirs")
    write(project, main=boards.CURVES)
    exper(project, "run", "ours")
    with opened(project) as (address, _):
        assert {"their.lr", "their/acc", "hparam/optimizer.lr", "metric/best/val/acc"} <= set(columns(address))
        assert "val/acc" not in columns(address)
        assert cells(address)["theirs/0"]["their/acc"] == 0.25


def test_any_metric_of_a_stranger_is_answered(project: paths.Project) -> None:
    write(project, main=boards.CURVES)
    exper(project, "run", "base")
    path = the_run(project, "base/0").statistic
    metric = {"best": {"epoch": "x", "a": float("nan"), "b": float("inf"), "c": [1], "d": True, "e": 10**400, "f": 1}}
    hparam = {"a": float("nan"), "big": 10**400, "t": "</td>\x1b", "n": {}}
    path.write_text(json.dumps({"hparam": hparam, "metric": metric}))
    with opened(project) as (address, _):
        assert "hparam/t" in columns(address)
        shown = cells(address)["base/0"]
        assert {name: value for name, value in shown.items() if "metric" in name} == {"metric/best/f": 1}
        assert (shown["hparam/a"], shown["hparam/t"]) == ("nan", "</td>\x1b")


def test_bytes_that_are_no_text_are_shown_as_escapes(project: paths.Project) -> None:
    write(project, main=boards.CURVES)
    exper(project, "run", "base")
    content = {"hparam": {"data": "/data/\udcff", "n\udcff": 1}, "metric": {"best": {"m\udcff": 0.5}}}
    the_run(project, "base/0").statistic.write_text(json.dumps(content))
    with opened(project) as (address, _):
        assert sorted(columns(address)) == ["hparam/data", r"hparam/n\udcff", r"metric/best/m\udcff"]
        shown = cells(address)["base/0"]
        assert (shown["hparam/data"], shown[r"metric/best/m\udcff"]) == (r"/data/\udcff", 0.5)


def test_the_curve_of_a_metric(project: paths.Project) -> None:
    write(project, main=boards.CURVES)
    exper(project, "run", "base")
    with opened(project) as (address, _):
        for tag, points in (("metric/best/val/acc", 3), ("metric/test/test/acc", 0)):
            request = {"sessionName": "base/0", "metricName": {"group": "", "tag": tag}}
            assert len(post(address, PLUGIN + "metric_evals", request)) == points


def test_without_settings_there_is_no_tab(project: paths.Project) -> None:
    write(project, main=manager.READY)
    exper(project, "run", "base")
    with opened(project) as (address, _):
        assert boards.get(address, "data/plugins_listing")["hparams"]["enabled"] is False
