"""`title`: what is added to the user's file, and that nothing of the user's changes."""

import json
import os
from pathlib import Path

import pytest

from exper.core import paths
from exper.statistic import titles as title
from tests.conftest import copy_project
from tests.support import manager
from tests.support.manager import exper, refused
from tests.support.texts import is_inserted_into

STATISTIC = {
    "hparam": {"epochs": 3, "optimizer.lr": 0.1},
    "metric": {"last": {"epoch": 3, "val/acc": 0.5}, "best": {"epoch": 2, "val/acc": 0.75}, "test": {}},
}
FRESH = """\
{
    "hparam": {
        "epochs": "epochs",
        "optimizer.lr": "optimizer.lr",
    },
    "metric": {
        "best/epoch": "best/epoch",
        "best/val/acc": "best/val/acc",
        "last/epoch": "last/epoch",
        "last/val/acc": "last/val/acc",
    },
}
"""
EDITED = """\
// for the paper
{
\t"hparam": {
        # "epochs": "epochs",
        "optimizer.lr": "Lernrate \\u03b7, // no comment",  /* the best: 0.1 */
    },
    /* "metric": {
        "last/epoch": "last/epoch", */
  "metric": { "best/val/acc" : "accuracy"
        // "best/epoch": "best/epoch"
  },
}"""


@pytest.fixture(scope="module")
def _recorded(module_project: paths.Project) -> paths.Project:
    exper(module_project, "run", "base")
    manager.the_run(module_project, "base/0").statistic.write_text(json.dumps(STATISTIC))
    exper(module_project, "record")
    return module_project


@pytest.fixture
def recorded(_recorded: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project whose list record names the run base/0, which has results."""
    return copy_project(_recorded, tmp_path / "it's a próject")


def written(project: paths.Project, name: str = "record") -> str:
    """Return the text of a title."""
    return project.title_file(name).read_bytes().decode()


def test_a_title_has_a_line_for_each_name_of_the_runs_of_any_status(recorded: paths.Project) -> None:
    manager.edit_record(recorded, "base/0", status="failed")
    assert "6 new names" in exper(recorded, "title").stdout
    assert written(recorded) == FRESH


def test_a_second_title_changes_no_byte_without_new_names(recorded: paths.Project) -> None:
    recorded.titles.mkdir()
    recorded.title_file("record").write_text(EDITED.replace("for the paper", '"last/val/acc": out'))
    before = recorded.title_file("record").stat()
    text = written(recorded)
    assert "no new names" in exper(recorded, "title").stdout
    assert written(recorded) == text
    assert recorded.title_file("record").stat().st_ino == before.st_ino
    assert recorded.title_file("record").stat().st_mtime_ns == before.st_mtime_ns


def test_a_second_title_only_puts_new_names_in(recorded: paths.Project) -> None:
    recorded.titles.mkdir()
    recorded.title_file("record").write_text(EDITED)
    more = {"epochs": 3, "optimizer.lr": 0.1, "model.name": "lenet"}
    manager.the_run(recorded, "base/0").statistic.write_text(json.dumps(STATISTIC | {"hparam": more}))
    assert "2 new names" in exper(recorded, "title").stdout
    assert written(recorded) == EDITED.replace("0.1 */\n", '0.1 */\n        "model.name": "model.name",\n').replace(
        'epoch"\n  },', 'epoch"\n    , "last/val/acc": "last/val/acc",\n  },'
    )
    assert exper(recorded, "table").returncode == 0


@pytest.mark.parametrize(
    "before",
    [
        "{}",
        "{\n}\n",
        '{"hparam": {}, "metric": {}}',
        '{"hparam": {"epochs": "e"}}',
        '{"metric": {"x": "y"},\r\n"hparam": {"epochs": "e",\r\n"b": "c"}\r\n}\r\n',
        '\ufeff{\n  "hparam": {\n    "epochs": "e" } }',
        '{"hparam":{"a":"b"//c\n}}',
        '{\n"hparam": {\n"a": "b"}\n}// the end',
        '{"hparam": {"\udcff": "\udcfe"}} # \udcfd',
        '{\r"hparam": {\r"a": "b"\r}\r}',
    ],
)
def test_names_are_put_into_any_layout(recorded: paths.Project, before: str) -> None:
    recorded.titles.mkdir()
    path = recorded.title_file("record")
    path.write_bytes(before.encode(errors="surrogateescape"))
    exper(recorded, "title")
    after = path.read_bytes().decode(errors="surrogateescape")
    assert is_inserted_into(before, after)
    now = title.read(path)
    assert now is not None
    assert set(now.sections["hparam"].headers) >= {"epochs", "optimizer.lr"}
    assert set(now.sections["metric"].headers) >= {"best/epoch", "last/val/acc"}
    exper(recorded, "title")
    assert path.read_bytes().decode(errors="surrogateescape") == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: it ends where '{' belongs"),
        ("// nothing\n", "line 2: it ends"),
        ('{\n "hparam": {\n  "a": "b",\n', "line 4: it ends"),
        ('{\n "hparam": {\n  "a": "b"\n  "c": "d"\n}}', 'line 4: a comma is missing before "c"'),
        ('{"hparam": {"a": 5}}', "'5' stands where a header in double quotes belongs"),
        ('{"hparam": {"a": null}}', "'null' stands where"),
        ('{"hparam": {"a": ["b"]}}', "stands where"),
        ('{"hparam": {a: "b"}}', "'a' stands where a name"),
        ('{"hparam": {"a": "b", "a": "c"}}', "'a' is there for the second time"),
        ('{"hparam": {}, "hparam": {}}', "'hparam' is there for the second time"),
        ('{"hparams": {}}', "there is no section 'hparams'. Did you mean 'hparam'?"),
        ('["hparam"]', "stands where '{' belongs"),
        ('{"hparam": {"a": "b}}', "stands where a header"),
        ('{"hparam": {"a": "\\x"}}', "stands where a header"),
        ('{"hparam": {} /* open }', "stands where '}' belongs"),
        ("{}\n}", "line 2: '}' follows the last brace"),
        ('{"hparam": {"a": "b"', "it ends where '}' belongs"),
        ('{"hparam": {,}}', "',' stands where a name"),
        ("\x00\x1b[31m", "stands where '{' belongs"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(recorded: paths.Project, text: str, said: str) -> None:
    recorded.titles.mkdir()
    recorded.title_file("record").write_text(text)
    for command in ("title", "table"):
        error = refused(recorded, command)
        assert said in error
        assert "record.json, line " in error
        assert "\x1b" not in error
    assert recorded.title_file("record").read_text() == text
    assert not recorded.tables.exists()


def test_a_section_that_is_commented_out_stays_out(recorded: paths.Project) -> None:
    recorded.titles.mkdir()
    recorded.title_file("record").write_text('{\n  // "metric": {},\n}\n')
    exper(recorded, "title")
    assert '"epochs": "epochs"' in written(recorded)
    assert "best" not in written(recorded)


def test_runs_without_names_make_no_title(project: paths.Project) -> None:
    exper(project, "run", "base")
    exper(project, "record")
    assert "no new names" in exper(project, "title").stdout
    assert not project.title_file("record").exists()


def test_a_list_by_name_or_path_and_its_unknown_runs(recorded: paths.Project) -> None:
    (recorded.root / "mine.txt").write_text("gone\r\nbase # all of it\r\n\r\nbas/7\r\n")
    error = exper(recorded, "title", "mine.txt", code=1).stderr
    assert error.count("there is no such run; skipped") == 2
    assert written(recorded, "mine") == FRESH
    exper(recorded, "title", "finished")
    assert written(recorded, "finished") == FRESH
    assert "Did you mean 'finished'?" in refused(recorded, "title", "finishd")
    assert "there is no list 'gone.txt'" in refused(recorded, "title", "gone.txt")
    assert "can't be the name of a list" in refused(recorded, "title", "../mine")


def test_a_damaged_statistic_is_named_and_the_others_count(recorded: paths.Project) -> None:
    exper(recorded, "rerun", "base")
    exper(recorded, "record", "base/1")
    manager.the_run(recorded, "base/1").statistic.write_text("{")
    assert "base/1/statistic.json is damaged" in exper(recorded, "title", code=1).stderr
    assert written(recorded) == FRESH


def test_a_title_that_is_a_link_or_private_stays_so(recorded: paths.Project) -> None:
    recorded.titles.mkdir()
    kept = recorded.root / "kept.json"
    kept.write_text("{}")
    kept.chmod(0o600)
    recorded.title_file("record").symlink_to(kept)
    exper(recorded, "title")
    assert recorded.title_file("record").is_symlink()
    assert '"epochs"' in kept.read_text()
    assert os.stat(kept).st_mode & 0o777 == 0o600
