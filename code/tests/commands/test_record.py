"""`record`: what is added to which list, and what is refused."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from exper.core import paths
from tests.conftest import copy_project
from tests.support import manager
from tests.support.manager import exper, refused


def recorded(project: paths.Project, name: str = "record") -> list[str]:
    """Return the lines of a list."""
    path = project.list_file(name)
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def _runs(module_project: paths.Project) -> paths.Project:
    exper(module_project, "run", "base")
    exper(module_project, "run", "wide")
    exper(module_project, "rerun", "base")
    return module_project


@pytest.fixture
def runs(_runs: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with the runs base/0, base/1 and wide/0."""
    return copy_project(_runs, tmp_path / "it's a próject")


def test_without_a_word_the_run_started_last_is_added(runs: paths.Project) -> None:
    assert "base/1 added" in exper(runs, "record").stdout
    exper(runs, "rerun", "wide")
    exper(runs, "record")
    assert recorded(runs) == ["base/1", "wide/1"]


def test_a_continued_run_is_the_one_started_last(project: paths.Project) -> None:
    manager.write(project, main=manager.READY + "sys.exit(not (run / 'go').exists())")
    exper(project, "run", "old", code=1)
    exper(project, "run", "new", code=1)
    (manager.the_run(project, "old/0").folder / "go").touch()
    exper(project, "continue", "old")
    exper(project, "record")
    assert recorded(project) == ["old/0"]


def test_an_untagged_or_damaged_run_is_not_the_one_started_last(runs: paths.Project) -> None:
    shutil.copytree(manager.the_run(runs, "base/1").folder, runs.tag("untagged").run(0).folder)
    manager.edit_record(runs, "untagged/0", started="2999-01-01T00:00:00.000+00:00")
    manager.the_run(runs, "base/1").record.write_text("{")
    exper(runs, "record")
    assert recorded(runs) == ["wide/0"]


def test_words_are_added_once_in_their_order_and_a_tag_stays_a_tag(runs: paths.Project) -> None:
    exper(runs, "record", "wide/0", "base", "base/", "base/01", "w*")
    exper(runs, "record", "base/1", "base")
    assert recorded(runs) == ["wide/0", "base", "base/1", "w*"]
    assert "is already in" in exper(runs, "record", "base").stdout


def test_another_list_gets_them(runs: paths.Project) -> None:
    exper(runs, "record", "base/0", "-l", "best of all")
    exper(runs, "record", "base/1", "--list=best of all")
    assert recorded(runs, "best of all") == ["base/0", "base/1"]
    assert recorded(runs) == []


def test_the_users_lines_stay_byte_for_byte(runs: paths.Project) -> None:
    before = b"\xef\xbb\xbf# mine \xff\r\nwide/0 # the best\r\n\r\n  base/0"
    runs.lists.mkdir(exist_ok=True, parents=True)
    runs.list_file("record").write_bytes(before)
    exper(runs, "record", "wide/0", "base/0", "base/1")
    assert runs.list_file("record").read_bytes() == before + b"\r\nbase/1\r\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bas/0"], "no run has the tag 'bas'. Did you mean 'base'?"),
        (["base/0", "base/7"], "there is no run base/7. 'base' has: 0, 1."),
        (["base/0", "../base"], "can't be a tag"),
        (["base/x"], "is no run"),
        (["x*"], "no run fits 'x*'"),
        (["base*#"], "no run fits"),
        (["base/*\n"], "no run fits"),
        ([""], "can't be a tag"),
        (["base", "-l", "finished"], "keeps the list 'finished'"),
        (["base", "-l", "a/b"], "can't be the name of a list"),
        (["base", "-l", ".hidden"], "can't be the name of a list"),
        (["base", "-l", ""], "can't be the name of a list"),
        (["base", "-l", "a\x1b[31m"], "can't be the name of a list"),
        (["base", "-l", "x" * 201], "200 bytes"),
        (["base", "-l", "mine.txt"], "without its ending: mine"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(runs: paths.Project, words: list[str], said: str) -> None:
    before = {path.name: path.read_bytes() for path in runs.lists.iterdir()}
    assert said in refused(runs, "record", *words)
    assert {path.name: path.read_bytes() for path in runs.lists.iterdir()} == before


def test_without_runs_it_says_what_to_type(project: paths.Project) -> None:
    assert "run <tag>" in refused(project, "record")


def test_a_list_that_is_no_text_is_refused(runs: paths.Project) -> None:
    content = "base/0\n".encode("utf-16")
    runs.list_file("record").write_bytes(content)
    assert "UTF-8" in refused(runs, "record", "wide")
    assert runs.list_file("record").read_bytes() == content


def test_a_list_that_is_a_link_stays_one(runs: paths.Project) -> None:
    (runs.root / "elsewhere.txt").write_text("base/0\n")
    runs.list_file("record").symlink_to(runs.root / "elsewhere.txt")
    exper(runs, "record", "wide")
    assert (runs.root / "elsewhere.txt").read_text() == "base/0\nwide\n"
    assert runs.list_file("record").is_symlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_list_that_cannot_be_written_is_an_error_without_a_traceback(runs: paths.Project) -> None:
    runs.list_file("record").touch(0o444)
    assert "Permission denied" in exper(runs, "record", "wide", code=1).stderr


def test_two_shells_at_once_lose_nothing(runs: paths.Project) -> None:
    words = [[f"base/{number}"] for number in range(2)] + [["wide/0"], ["base"], ["wide"], ["*"], ["b*"], ["w*"]]
    started = [manager.start(runs, "record", *one) for one in words for _ in range(2)]
    assert [one.wait(60) for one in started] == [0] * 16
    for one in started:
        assert one.stdout
        one.stdout.close()
    assert sorted(recorded(runs)) == sorted(word for one in words for word in one)


def test_record_title_and_table_in_both_shells(runs: paths.Project) -> None:
    for shell in ("bash", "zsh"):
        if not shutil.which(shell):
            pytest.skip(f"{shell} IS NOT INSTALLED")
        script = '. "$1" && record base/0 "b*" -l $2 && title $2 && table $2 --json'
        words = [shell, *(["--norc"] if shell == "bash" else ["-f"]), "-c", script, shell]
        done = subprocess.run(
            [*words, str(runs.code / "source.sh"), shell], capture_output=True, text=True, cwd=runs.root, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert '"run": "base/1", "status": "finished"' in done.stdout
        assert recorded(runs, shell) == ["base/0", "b*"]
