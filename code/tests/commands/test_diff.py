"""`exper diff`: what differs between runs, tags and config files, and nothing else."""

import json
import shlex
from pathlib import Path
from typing import Any

import pexpect
import pytest

from exper.core import paths
from tests.conftest import copy_project
from tests.support import manager
from tests.support.manager import edit_record, exper, git, refused, the_run, write

# Writes the results that the settings stand for, as training does.
TRAINS = """\
import ast, json, os, pathlib
run = pathlib.Path(os.environ["EXPER_RUN"])
lr = {lr}
metric = dict(last=dict(epoch=3), best={{"epoch": 3, "val/loss": 0.1 + lr}}, test=dict(epoch=3))
data = dict(name="digits", size=dict(train=100), fingerprint="abc")
device = dict(name="CPU", threads=2, deterministic=True)
hparam = {{"epochs": 3, "optimizer.name": "sgd", "optimizer.lr": lr}}
(run / "statistic.json").write_text(json.dumps(dict(hparam=hparam, metric=metric, data=data, device=device)))
"""
CONFIG = "epochs = 3\noptimizer = {{'name': 'sgd', 'lr': {lr}}}\n"


@pytest.fixture(scope="module")
def _runs(module_project: paths.Project) -> paths.Project:
    write(module_project, main=TRAINS.format(lr=0.2), config=CONFIG.format(lr=0.2))
    exper(module_project, "run", "base", "-f")
    exper(module_project, "rerun", "base", "-f")
    write(module_project, main=TRAINS.format(lr=0.1), config=CONFIG.format(lr=0.1), model="a\nb\n")
    exper(module_project, "run", "slow")
    edit_record(module_project, "slow/0", seed=7, threads=2)
    return module_project


@pytest.fixture
def runs(_runs: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with the runs base/0, base/1 of the same seed, and slow/0 of other code and settings."""
    return copy_project(_runs, tmp_path / "it's a próject")


def shown(project: paths.Project, *arguments: str) -> list[str]:
    """Return the lines that `exper diff` prints."""
    text: str = exper(project, "diff", *arguments).stdout
    return text.splitlines()


def as_json(project: paths.Project, *arguments: str) -> dict[str, Any]:
    """Return the object that `exper diff --json` prints."""
    printed: dict[str, Any] = json.loads(exper(project, "diff", "--json", *arguments).stdout)
    return printed


def edit_statistic(project: paths.Project, name: str, **changes: Any) -> None:
    """Change parts of a run's statistic.json."""
    path = the_run(project, name).statistic
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- runs --------------------------------------------------------------------------------------------------------------


def test_two_runs_of_one_seed_are_the_same(runs: paths.Project) -> None:
    assert shown(runs, "base/0", "base/1") == ["base/0 and base/1 are the same"]
    assert as_json(runs, "base/0", "base/1") == {"a": "base/0", "b": "base/1"}


def test_what_differs_is_shown_and_nothing_else(runs: paths.Project) -> None:
    assert shown(runs, "base/0", "slow/0") == [
        "base/0 -> slow/0: the same but for seed, optimizer.lr, code (2 files), metrics",
        "run",
        "  seed  42  ->  7",
        "settings",
        "  optimizer.lr  0.2  ->  0.1",
        "code",
        "  code/main.py   +1 -1",
        "  code/model.py  +2 -0",
        "metrics",
        "  best/val/loss  0.30000000000000004  ->  0.2  -0.10000000000000003",
    ]


def test_json_has_raw_values(runs: paths.Project) -> None:
    found = as_json(runs, "base/0", "slow/0")
    assert found.pop("code") == {
        "code/config.py": {"added": 1, "removed": 1},
        "code/main.py": {"added": 1, "removed": 1},
        "code/model.py": {"added": 2, "removed": 0},
    }
    assert found == {
        "a": "base/0",
        "b": "slow/0",
        "run": {"seed": {"a": 42, "b": 7}},
        "settings": {"optimizer.lr": {"a": 0.2, "b": 0.1}},
        "metrics": {"best/val/loss": {"a": 0.1 + 0.2, "b": 0.2, "difference": 0.2 - (0.1 + 0.2)}},
    }


def test_packages_machine_and_data(runs: paths.Project) -> None:
    versions = manager.record(runs, "base/1")["versions"]
    edit_record(runs, "base/1", versions=versions | {"python": "3.9.1", "pytest": "1.0", "new": "2.0"}, host="far")
    data = {"name": "digits", "size": {"train": 90}, "fingerprint": "abd"}
    outside = {"own": "12"}
    edit_statistic(runs, "base/1", device={"name": "GPU", "threads": 2}, data=data, outside_code=outside)
    lines = shown(runs, "base/0", "base/1")
    for line in (
        "  size.train   100  ->  90",
        "  fingerprint  abc  ->  abd",
        "  deterministic  True  ->  -",
        "  pytest ",
    ):
        assert any(one.startswith(line) for one in lines), lines
    assert any(one.endswith("->  far") for one in lines)
    assert "not known of base/0: code outside the tag" in lines
    edit_statistic(runs, "base/0", outside_code={"own": "34"})
    lines = shown(runs, "base/0", "base/1")
    assert lines[lines.index("code outside the tag") + 1] == "  own  34  ->  12"


def test_many_packages_are_cut_those_that_the_code_requires_first(runs: paths.Project) -> None:
    versions = manager.record(runs, "base/1")["versions"]
    edit_record(runs, "base/1", versions=versions | {f"a{number}": "1" for number in range(20)} | {"pytest": "1.0"})
    lines = shown(runs, "base/0", "base/1")
    assert lines[0] == "base/0 -> base/1: the same but for 21 packages"
    assert lines[2].startswith("  pytest ")
    assert lines[-1] == "  and 11 more; --json has all"
    assert len(as_json(runs, "base/0", "base/1")["packages"]) == 21


def test_an_unfinished_run_and_one_without_results(runs: paths.Project) -> None:
    edit_record(runs, "slow/0", status="failed")
    the_run(runs, "slow/0").statistic.unlink()
    lines = shown(runs, "base/0", "slow/0")
    assert "  status  finished  ->  failed" in lines
    assert "  optimizer.lr  0.2  ->  0.1" in lines  # from the commit
    assert "  best/val/loss  0.30000000000000004  ->  -" in lines
    assert lines[-1] == "not known of slow/0: data"


def test_nan_and_infinity(runs: paths.Project) -> None:
    nan, infinity = ({"best": {"val/loss": float(text)}} for text in ("nan", "inf"))
    for name in ("base/0", "base/1"):
        edit_statistic(runs, name, metric=nan)
    assert shown(runs, "base/0", "base/1") == ["base/0 and base/1 are the same"]
    edit_statistic(runs, "base/1", metric=infinity)
    assert shown(runs, "base/0", "base/1")[-1] == "  best/val/loss  nan  ->  inf  +nan"
    pair = as_json(runs, "base/0", "base/1")["metrics"]["best/val/loss"]
    assert pair == {"a": "nan", "b": "inf", "difference": "nan"}


def test_a_commit_that_is_gone(runs: paths.Project) -> None:
    edit_record(runs, "slow/0", commit="0" * 40)
    assert shown(runs, "base/0", "slow/0")[-1] == "code: this repository has no commit 0000000000, of slow/0"


def test_settings_of_a_commit_that_is_gone_are_not_known(runs: paths.Project) -> None:
    for name in ("base/1", "slow/0"):
        edit_record(runs, name, commit="0" * 40)
        the_run(runs, name).statistic.unlink()
    assert "not known of slow/0: settings, data" in shown(runs, "base/0", "slow/0")
    assert "not known of slow/0: settings" in shown(runs, "base/1", "slow/0")
    found = as_json(runs, "base/0", "slow/0")
    assert "settings" not in found
    assert found["notes"] == [
        "code: this repository has no commit 0000000000, of slow/0", "not known of slow/0: settings, data"
    ]  # fmt: skip


def test_an_untagged_run_is_known_by_its_files(runs: paths.Project) -> None:
    the_run(runs, "slow/0").folder.parent.rename(runs.tag("untagged").folder)
    edit_record(runs, "untagged/0", commit=None)
    lines = shown(runs, "base/0", "untagged/0")
    assert "  optimizer.lr  0.2  ->  0.1" in lines
    assert lines[-1] == "code: untagged/0 has no commit"


# -- tags and files ----------------------------------------------------------------------------------------------------


def test_two_tags_have_settings_code_and_seed(runs: paths.Project) -> None:
    lines = shown(runs, "base", "slow")
    assert lines[0].startswith("base -> slow: the same but for seed, optimizer.lr, code (2 files)")
    assert "metrics" not in lines
    git(runs.root, "tag", "plain")  # without a seed
    assert shown(runs, "slow", "plain") == ["slow and plain are the same"]


def test_a_tag_may_be_called_as_a_file_is(runs: paths.Project) -> None:
    git(runs.root, "tag", "net.py", "base")
    assert "  optimizer.lr  0.2  ->  0.1" in shown(runs, "net.py", "slow")
    assert "can't be read" in refused(runs, "diff", "nett.py", "slow")


def test_comments_of_config_py_are_code(runs: paths.Project) -> None:
    write(runs, config=CONFIG.format(lr=0.1) + "# the end\n")
    git(runs.root, "tag", "plain")
    assert shown(runs, "slow", "plain")[1:] == ["code", "  code/config.py  +1 -0"]


def test_config_files_and_a_run(runs: paths.Project) -> None:
    (runs.root / "other.py").write_text(
        "epochs = 3\noptimizer = {'name': 'sgd', 'lr': 0.1}\nsearch = {'epochs': [1]}\n"
    )
    assert shown(runs, "code/config.py", "other.py") == ["code/config.py and other.py are the same"]
    assert shown(runs, "base/0", "other.py") == [
        "base/0 -> other.py: the same but for optimizer.lr",
        "settings",
        "  optimizer.lr  0.2  ->  0.1",
    ]
    (runs.root / "more.py").write_text("epochs = 3\nclip = [1, 2]\n")
    assert shown(runs, "other.py", "more.py")[2:] == [
        "  optimizer.name  sgd  ->  -",
        "  optimizer.lr    0.1  ->  -",
        "  clip            -    ->  [1, 2]",
    ]


def test_code_shows_the_whole_difference(runs: paths.Project) -> None:
    lines = shown(runs, "base", "slow", "--code")
    assert "+lr = 0.1" in lines
    assert "-lr = 0.2" in lines
    assert shown(runs, "slow", "code/config.py", "--code")[-1] == "code: code/config.py has no commit"
    assert "+lr = 0.1\n" in as_json(runs, "base", "slow", "--code")["diff"]


# -- what the terminal gets --------------------------------------------------------------------------------------------


def test_nothing_can_move_the_cursor(runs: paths.Project) -> None:
    edit_statistic(runs, "base/1", hparam={"a\x1b[2J": "x\x1b[31m\n"}, metric={"best": {"\x1bc": 1}})
    write(runs, model="print('\x1b[2J')\n")
    (runs.code / "\x1b[31m.txt").write_text("x")
    manager.commit(runs)
    git(runs.root, "tag", "odd")
    for arguments in (("base/0", "base/1"), ("base", "odd"), ("base", "odd", "--code")):
        assert "\x1b" not in "".join(shown(runs, *arguments))


@pytest.mark.parametrize(
    ("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_on_a_terminal(
    variables: dict[str, str], is_coloured: bool, runs: paths.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    program, *words = manager.command(runs, "diff", "base/0", "slow/0")
    text = str(pexpect.run(shlex.join([program, *words]), cwd=str(runs.root), encoding="utf-8"))
    assert ("\x1b[31m0.2\x1b[0m  ->  \x1b[32m0.1\x1b[0m" in text) == is_coloured
    assert ("\x1b" in text) == is_coloured


# -- refused -----------------------------------------------------------------------------------------------------------


def test_what_is_refused(runs: paths.Project) -> None:
    (runs.root / "bad.py").write_text("lr = open('x')\n")
    for arguments, said in [
        ((), "the following arguments are required: A, B"),
        (("base",), "the following arguments are required: B"),
        (("base", "bse"), "Did you mean 'base'?"),
        (("base/0", "base/9"), "there is no run base/9"),
        (("base", "nothing.py"), "nothing.py can't be read: No such file or directory."),
        (("base", "code/exper/commands.py"), "can't be read"),
        (("base", "bad.py"), "bad.py, line 1: `open('x')` is not static."),
        (("base", "../x/0"), "can't be a tag"),
    ]:
        assert said in refused(runs, "diff", *arguments)
    the_run(runs, "base/0").record.write_text("{")
    assert "run.json is damaged" in refused(runs, "diff", "base/0", "slow/0")
    edit_record(runs, "slow/0", format=1)
    the_run(runs, "slow/0").statistic.write_text("{")
    assert "statistic.json is damaged" in refused(runs, "diff", "slow", "slow/0")
