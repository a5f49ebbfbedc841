"""`expls` and `expels`: what is listed, whatever the files hold."""

import json
import re
import subprocess

import pytest

from exper.core import paths
from exper.runs import run_record
from tests.support import manager
from tests.support.manager import exper, refused, write

STATISTIC = {
    "hparam": {"epochs": 3},
    "metric": {"last": {"epoch": 2, "val/acc": 0.5}, "best": {"epoch": 1, "val/acc": 0.75}},
}


def _write_statistic(project: paths.Project, name: str, content: object) -> None:
    manager.the_run(project, name).statistic.write_text(json.dumps(content))


def test_without_runs_it_says_what_to_type(project: paths.Project) -> None:
    assert "run <tag>" in exper(project, "expls").stdout


def test_a_line_for_each_tag_and_each_run(project: paths.Project) -> None:
    write(project, main=manager.READY + "sys.exit(int(run.name))")
    exper(project, "run", "base", "-f")
    exper(project, "rerun", "base", "-f", code=1)
    exper(project, "run", "other")
    _write_statistic(project, "base/0", STATISTIC)
    tags = [line.split("  ")[:2] for line in exper(project, "expls").stdout.splitlines()]
    assert tags[0][0] == "tag"
    assert [one[0] for one in tags[1:]] == ["base", "other"]
    assert "1 finished, 1 failed" in exper(project, "expls").stdout
    header, first, second = exper(project, "expels", "base").stdout.splitlines()
    assert header.split() == ["run", "status", "seed", "epoch", "best", "age"]
    assert first.split()[:7] == ["base/0", "finished", "42", "2/3", "val/acc", "0.75", "@1"]
    assert second.split()[:3] == ["base/1", "failed", "42"]


@pytest.mark.parametrize(
    "content",
    [{}, [], 5, None, "x", {"metric": 5}, {"metric": {"last": 5, "best": [1]}}, {"hparam": [1]},
     {"metric": {"best": {"val/acc": "high", "epoch": None}}},
     {"hparam": {"epochs": [1]}, "metric": {"last": {"epoch": {}}}},
     {"metric": {"best": {"\x1b[31mred": 1.0}}}, {"metric": {"best": {"val/acc": float("nan")}}},
     {"metric": {"best": {"val/acc": 10**400}}}],
)  # fmt: skip
def test_a_strangers_statistic_is_listed_as_far_as_it_can_be_read(trained: paths.Project, content: object) -> None:
    _write_statistic(trained, "base/0", content)
    for words in (["expls"], ["expels", "base"]):
        shown = exper(trained, *words).stdout
        assert "finished" in shown
        assert "\x1b" not in shown


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", '{"format": 1}', '{"format": "1", "status": 1, "seed": [], "sessions": {}}',
     '{"format": 1, "status": "running", "seed": 1, "sessions": []}', "\udcff", '{"format": 1, "status": "failed",'
     ' "seed": 1, "sessions": [], "started": 5}', '{"format": null, "status": null, "seed": null, "sessions": null}'],
)  # fmt: skip
def test_a_damaged_record_is_called_damaged_and_refused(trained: paths.Project, text: str) -> None:
    manager.the_run(trained, "base/0").record.write_bytes(text.encode(errors="surrogateescape"))
    assert "damaged" in exper(trained, "expls").stdout
    assert "damaged" in exper(trained, "expels", "base").stdout
    for words in (["continue", "base"], ["continue", "base/0"], ["rerun", "base/0"], ["rerun", "base", "-f"]):
        assert "damaged" in refused(trained, *words)


@pytest.mark.parametrize(
    "change",
    [{"job": "x"}, {"versions": None}, {"commit": 5}, {"environment": None}, {"sessions": [{}]}, {"threads": "2"},
     {"recorded": []}, {"command": None}, {"different": None}],
    ids=str,
)  # fmt: skip
def test_an_odd_value_in_a_record_is_damage(trained: paths.Project, change: dict[str, object]) -> None:
    at = manager.the_run(trained, "base/0")
    at.record.write_text(json.dumps(json.loads(at.record.read_text()) | {"status": "failed"} | change))
    assert "damaged" in exper(trained, "expls").stdout
    for words in (["continue", "base"], ["rerun", "base/0"], ["exper", "diff", "base/0", "base"][1:]):
        assert "damaged" in refused(trained, *words)


@pytest.mark.parametrize("started", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday"])
def test_a_run_that_started_at_no_time_has_no_age(trained: paths.Project, started: str) -> None:
    manager.edit_record(trained, "base/0", started=started)
    assert exper(trained, "expls").stdout.splitlines()[1].split() == ["base", "1", "finished"]


@manager.can_mount
def test_on_a_disk_that_can_only_be_read_they_list_and_compare(trained: paths.Project) -> None:
    manager.edit_record(trained, "base/0", status="running")
    for words in (["expls"], ["expels", "base"], ["diff", "base/0", "base"], ["table", "finished", "--json"]):
        done = manager.on_a_read_only_disk(trained, trained.root, *words)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert "died" in done.stdout or words[0] == "diff"
    done = manager.on_a_read_only_disk(trained, trained.root, "board")
    assert (done.returncode, done.stdout) == (1, "")
    assert "/__result__/.board can't be written" in done.stderr


@manager.needs_stranger
def test_a_folder_that_cannot_be_read_is_said_and_the_rest_is_listed(trained: paths.Project) -> None:
    for name in ("lost+found", "another"):
        (trained.result / name).mkdir()
        (trained.result / name).chmod(0)
    done = manager.as_stranger(trained, "expls")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["tag", "base"]
    assert done.stderr == f"expls: {trained.result}/another can't be read; left out\n"
    assert manager.as_stranger(trained, "expels", "base").returncode == 0
    trained.list_file("all").write_text("*\n")
    assert manager.as_stranger(trained, "table", "all", "--json").returncode == 0
    assert "lost" not in manager.as_stranger(trained, "complete", "expels", "").stdout


def test_strangers_files_beside_the_runs_are_ignored(trained: paths.Project) -> None:
    (trained.result / "a file").touch()
    (trained.result / "a \x1b[31m folder" / "0").mkdir(parents=True)
    (trained.tag("base").folder / "notes.txt").touch()
    (trained.tag("base").folder / ".new-0123").mkdir()
    shown = exper(trained, "expls").stdout
    assert "base" in shown
    assert "\x1b" not in shown
    assert len(exper(trained, "expels", "base").stdout.splitlines()) == 2


def test_a_reader_that_leaves_early_is_no_error(trained: paths.Project) -> None:
    line = " ".join(f'"{word}"' for word in manager.command(trained, "expls"))
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line} | true"], capture_output=True, text=True)
    assert (done.returncode in (0, 141), done.stderr) == (True, "")


# -- a search ----------------------------------------------------------------------------------------------------------


def _trials(project: paths.Project, monitor: str | None, values: dict[str, tuple[str, float]]) -> None:
    """Write runs with a status and their best val/acc."""
    for name, (state, value) in values.items():
        run = manager.the_run(project, name)
        run.folder.mkdir(parents=True)
        record = run_record.begin(run_record.new(run.tag, None, 0, 1), ["search", "wide"])
        run_record.write(run, run_record.end(record | {"id": run.id}, state, 0))
        best = {"epoch": 2, "val/acc": value}
        _write_statistic(project, name, {"hparam": {"monitor": monitor}, "metric": {"best": best}})


WIDE = {
    "wide+lr=0.1/0": ("finished", 0.75),
    "wide+lr=0.2/0": ("finished", 0.5),
    "wide+lr=0.3/0": ("finished", float("nan")),
    "wide+lr=0.4/0": ("pruned", 0.875),
    "wide+lr=0.5/0": ("failed", 0.125),
}


@pytest.mark.parametrize(
    ("monitor", "best"), [("max val/acc", "0.75"), ("min val/acc", "0.5"), ("max acc", ""), (None, "")]
)
def test_a_search_is_one_line_with_the_best_that_has_finished(
    project: paths.Project, monitor: str | None, best: str
) -> None:
    _trials(project, monitor, WIDE)
    header, line = exper(project, "expls").stdout.splitlines()
    assert header.split() == ["tag", "runs", "epoch", "best", "age"]
    shown = f"val/acc {best} @2" if best else ""
    assert re.fullmatch(rf"wide\+\*  5 trials: 3 finished, 1 pruned, 1 failed +{shown} +\d+ s", line)


def test_a_search_stands_behind_its_own_tag_and_counts_runs_where_trials_have_several(project: paths.Project) -> None:
    names = ("wide+lr=0.1/0", "wide+lr=0.1/1", "wide/0", "wide-2/0", "a/0")
    _trials(project, None, dict.fromkeys(names, ("finished", 0.5)))
    lines = exper(project, "expls").stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["a", "wide", "wide+*", "wide-2"]
    assert "1 trial, 2 runs: 2 finished" in lines[2]


def test_json_has_an_object_a_tag_that_names_its_search(project: paths.Project) -> None:
    _trials(project, "max val/acc", WIDE | {"base/0": ("finished", 0.5)})
    found = json.loads(exper(project, "expls", "--json").stdout)
    assert {one["tag"]: one["search"] for one in found} == {
        "base": None,
        **{name.partition("/")[0]: "wide" for name in WIDE},
    }


def test_expels_of_a_search_lists_the_runs_of_its_trials(project: paths.Project) -> None:
    _trials(project, "max val/acc", WIDE)
    assert [line.split()[0] for line in exper(project, "expels", "wide").stdout.splitlines()[1:]] == sorted(WIDE)
    assert [one["run"] for one in json.loads(exper(project, "expels", "wide", "--json").stdout)] == sorted(WIDE)
    _trials(project, None, {"wide/0": ("finished", 0.5)})
    assert exper(project, "expels", "wide").stdout.splitlines()[1].split()[0] == "wide/0"
    assert "no run has the tag 'wid'" in refused(project, "expels", "wid")


def test_a_search_that_is_taken_for_a_run_is_named(project: paths.Project) -> None:
    _trials(project, None, WIDE)
    for words in (["continue", "wide"], ["record", "wide"]):
        assert "It is a search. For its trials type: expels wide" in refused(project, *words)
    assert "Did you mean 'wide+lr=0.1'?" in refused(project, "continue", "wide+lr=0.11")
