"""`expls` and `expels`: what is listed, whatever the files hold."""

import json
import subprocess

import pytest

from exper import paths
from tests import manager
from tests.manager import exper, refused, write

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
     {"metric": {"best": {"\x1b[31mred": 1.0}}}, {"metric": {"best": {"val/acc": float("nan")}}}],
)  # fmt: skip
def test_a_strangers_statistic_is_listed_as_far_as_it_can_be_read(project: paths.Project, content: object) -> None:
    exper(project, "run", "base")
    _write_statistic(project, "base/0", content)
    for words in (["expls"], ["expels", "base"]):
        shown = exper(project, *words).stdout
        assert "finished" in shown
        assert "\x1b" not in shown


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", '{"format": 1}', '{"format": "1", "status": 1, "seed": [], "sessions": {}}',
     '{"format": 1, "status": "running", "seed": 1, "sessions": []}', "\udcff", '{"format": 1, "status": "failed",'
     ' "seed": 1, "sessions": [], "started": 5}', '{"format": null, "status": null, "seed": null, "sessions": null}'],
)  # fmt: skip
def test_a_damaged_record_is_called_damaged_and_refused(project: paths.Project, text: str) -> None:
    exper(project, "run", "base")
    manager.the_run(project, "base/0").record.write_bytes(text.encode(errors="surrogateescape"))
    assert "damaged" in exper(project, "expls").stdout
    assert "damaged" in exper(project, "expels", "base").stdout
    for words in (["continue", "base"], ["continue", "base/0"], ["rerun", "base/0"], ["rerun", "base", "-f"]):
        assert "damaged" in refused(project, *words)


def test_strangers_files_beside_the_runs_are_ignored(project: paths.Project) -> None:
    exper(project, "run", "base")
    (project.result / "a file").touch()
    (project.result / "a \x1b[31m folder" / "0").mkdir(parents=True)
    (project.tag("base").folder / "notes.txt").touch()
    (project.tag("base").folder / ".new-0123").mkdir()
    shown = exper(project, "expls").stdout
    assert "base" in shown
    assert "\x1b" not in shown
    assert len(exper(project, "expels", "base").stdout.splitlines()) == 2


def test_a_reader_that_leaves_early_is_no_error(project: paths.Project) -> None:
    exper(project, "run", "base")
    line = " ".join(f'"{word}"' for word in manager.command(project, "expls"))
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line} | true"], capture_output=True, text=True)
    assert (done.returncode in (0, 141), done.stderr) == (True, "")
