"""`table`: columns, cells, order, groups and formats, of real runs and of what a stranger leaves."""

import ast
import csv
import html.parser
import io
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pexpect
import pytest
from scipy import stats

from exper.core import paths
from exper.statistic import rows as rows_of_runs
from tests.conftest import copy_project
from tests.support import manager
from tests.support.manager import exper, refused, write

# It trains as its settings say: config.py is its own, the score grows with the id, lr = 13 fails, lr = 14 dies.
MAIN = """\
import json, os, pathlib, runpy, signal
run = pathlib.Path(os.environ["EXPER_RUN"])
config = runpy.run_path("code/config.py")
lr = config["optimizer"]["lr"]
score = 0.1 + 0.1 * int(run.name)
metric = {
    "last": {"epoch": 3, "val/acc": score / 2},
    "best": {"epoch": 2, "val/acc": score},
    "test": {"epoch": 2, "test/acc": 1e-05},
}
hparam = {"epochs": 3, "optimizer.lr": lr, "none": None, "yes": True, "list": [1, "a"], "text": "|&_<b>", "like": "1e3"}
(run / "statistic.json").write_text(json.dumps({"hparam": hparam, "metric": metric}))
if lr == 13:
    raise SystemExit(1)
if lr == 14:
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def _used(module_project: paths.Project) -> paths.Project:
    write(module_project, main=MAIN)
    for words, code in (
        (["run", "a"], 0),
        (["rerun", "a"], 0),
        (["rerun", "a"], 0),
        (["run", "b", "optimizer.lr=1e-05"], 0),
        (["run", "c", "optimizer.lr=13.0"], 1),
        (["run", "d", "optimizer.lr=14.0"], -9),
    ):
        exper(module_project, *words, code=code)
    manager.wait_for(lambda: manager.state(module_project, "d/0") == "died")
    exper(module_project, "record", "c", "b/0", "a", "d/0")
    return module_project


@pytest.fixture
def used(_used: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with finished runs a/0, a/1, a/2, b/0, a failed c/0, a died d/0, all on the list record."""
    return copy_project(_used, tmp_path / "it's a próject")


def rows(project: paths.Project, *words: str, name: str = "record", code: int = 0) -> list[dict[str, str]]:
    """Make a table; return the rows of its file."""
    exper(project, "table", *words, code=code)
    return list(csv.DictReader(io.StringIO(project.table_file(name, "csv").read_bytes().decode(), newline="")))


def set_statistic(project: paths.Project, name: str, hparam: Any, **metric: Any) -> None:
    """Give a run other results."""
    at = manager.the_run(project, name).statistic
    at.write_text(json.dumps({"hparam": hparam, "metric": metric}))


# -- columns and cells -------------------------------------------------------------------------------------------------


def test_a_row_a_run_in_the_order_of_the_list_with_metrics_of_finished_ones_alone(used: paths.Project) -> None:
    found = rows(used)
    names = ["hparam/epochs", "hparam/optimizer.lr", "hparam/none", "hparam/yes", "hparam/list", "hparam/text"]
    kinds = ["best/epoch", "best/val/acc", "last/epoch", "last/val/acc", "test/epoch", "test/test/acc"]
    expected = ["run", "status", "epoch", *names, "hparam/like", *(f"metric/{name}" for name in kinds)]
    assert list(found[0]) == expected
    assert [(row["run"], row["status"]) for row in found] == [
        ("c/0", "failed"), ("b/0", "finished"), ("a/0", "finished"), ("a/1", "finished"), ("a/2", "finished"),
        ("d/0", "died"),
    ]  # fmt: skip
    for row in found:
        has_metrics = {name: bool(cell) for name, cell in row.items() if name.startswith("metric/")}
        assert set(has_metrics.values()) == {row["status"] == "finished"}
        assert row["epoch"] == "3"


def test_cells_have_every_digit_and_read_as_in_config(used: paths.Project) -> None:
    _, b, *_, a, _ = rows(used)
    assert b["hparam/optimizer.lr"] == "1e-05"
    assert a["metric/best/val/acc"] == repr(0.1 + 0.1 * 2) == "0.30000000000000004"
    assert (b["hparam/none"], b["hparam/yes"], b["hparam/list"]) == ("None", "True", "[1, 'a']")
    assert (b["hparam/text"], b["hparam/like"]) == ("|&_<b>", "'1e3'")


def test_what_is_piped_is_whole_and_a_terminal_gets_what_fits(used: paths.Project) -> None:
    shown = exper(used, "table").stdout.splitlines()
    assert len(shown) == 7
    assert shown[4].endswith("1e-05")
    assert "0.30000000000000004" in shown[5]
    for columns in (40, 400):
        # pexpect sets the size when the program has begun, so that has to wait.
        words = ["-c", 'read go; exec "$@"', "sh", *manager.command(used, "table")]
        terminal = pexpect.spawn(
            "sh", words, encoding="utf-8", cwd=str(used.root), dimensions=(30, columns), timeout=30, echo=False,
            env={name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
        )  # fmt: skip
        terminal.sendline("go")
        terminal.expect(pexpect.EOF)
        lines = (terminal.before or "").replace("\r", "").splitlines()
        assert [len(line) for line in lines[:7] if len(line) > columns] == [], lines
        assert lines[0].endswith("…") == (columns == 40)
        assert ("  13.0  " in lines[1], "  0.3 " in lines[5]) == (columns == 400, columns == 400)
    assert len(rows(used)[0]) == 16


def test_a_title_chooses_columns_order_and_headers(used: paths.Project) -> None:
    used.titles.mkdir()
    used.title_file("record").write_text(
        '{"metric": {"best/val/acc": "Genauigkeit, in %"}, // first\n'
        '"hparam": {"unheard.of": "none has it", "optimizer.lr": "lr" # "epochs": "no"\n}}'
    )
    found = rows(used, "--sort", "metric/last/val/acc")
    assert list(found[0]) == ["run", "status", "epoch", "Genauigkeit, in %", "none has it", "lr"]
    assert [row["run"] for row in found] == ["a/2", "a/1", "b/0", "a/0", "c/0", "d/0"]
    assert {row["none has it"] for row in found} == {""}
    assert [row["run"] for row in rows(used, "--sort", "lr")][:2] == ["d/0", "c/0"]
    assert list(rows(used, "--varying")[0]) == ["run", "status", "epoch", "Genauigkeit, in %", "lr"]
    exper(used, "title")
    assert list(rows(used)[0])[:6] == ["run", "status", "epoch", "Genauigkeit, in %", "best/epoch", "last/epoch"]


def test_a_strangers_values_come_back_as_they_were(used: paths.Project) -> None:
    strange = {
        "nan": math.nan, "inf": -math.inf, "=1+2": "=1+2", "tab": "\tx", "empty": "", "lines": 'a\r\n"b",\n',
        "cr": "a\rb", "no": "None", "number": " 1_0", "quoted": "'x'", "surrogate": "\udcff",
        "deep": {"a": [None, {"b": 1e-300}]}, "big": 10**30, "no dict": '{"a.b": 1}',
    }  # fmt: skip
    set_statistic(used, "b/0", strange, best={"epoch": 1, "n": math.nan, "s": "bad"})
    row = next(row for row in rows(used) if row["run"] == "b/0")
    assert (row["hparam/nan"], row["hparam/inf"], row["metric/best/n"]) == ("nan", "-inf", "nan")
    for name in ("=1+2", "tab", "empty", "no", "number", "quoted", "deep", "big", "no dict"):
        assert ast.literal_eval(row[f"hparam/{name}"]) == strange[name]
    for name in ("lines", "cr"):
        assert row[f"hparam/{name}"] == strange[name]
    assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in row.values())
    said = json.loads(exper(used, "table", "--json").stdout)
    assert said[1]["hparam/nan"] == "nan"
    assert said[1]["hparam/inf"] == "-inf"
    assert said[1]["hparam/deep"] == strange["deep"]
    assert "\x1b" not in exper(used, "table").stdout
    exper(used, "title")
    assert {"'=1+2'", "epochs", "tab"} <= rows(used)[0].keys()


# -- order, columns that vary, groups ----------------------------------------------------------------------------------


def test_rows_are_sorted_with_the_highest_first_and_those_without_a_value_last(used: paths.Project) -> None:
    set_statistic(used, "a/1", {"name": "x10"}, best={"val/acc": math.nan})
    set_statistic(used, "a/0", {"name": "x9"}, best={"val/acc": 0.15})

    def order(*words: str) -> str:
        return " ".join(row["run"] for row in rows(used, *words))

    assert order("--sort", "metric/best/val/acc") == "a/2 a/0 b/0 c/0 a/1 d/0"
    assert order("--sort", "best/val/acc", "--ascending") == "b/0 a/0 a/2 c/0 a/1 d/0"
    assert order("--sort", "name", "--ascending") == "a/0 a/1 c/0 b/0 a/2 d/0"
    assert order("--sort", "status") == "c/0 b/0 a/0 a/1 a/2 d/0".replace("c/0 ", "").replace("d/0", "c/0 d/0")
    assert order("--sort", "hparam/list").startswith("c/0 b/0 a/2 d/0")
    assert "Did you mean 'metric/best/val/acc'?" in refused(used, "table", "--sort", "metric/best/val/ac")
    assert "--sort" in refused(used, "table", "--ascending")


def test_columns_that_say_the_same_of_all_runs_can_be_left_out(used: paths.Project) -> None:
    kept = ["run", "status", "epoch", "hparam/optimizer.lr"]
    metrics = ["metric/best/epoch", "metric/best/val/acc", "metric/last/epoch", "metric/last/val/acc"]
    assert list(rows(used, "--varying")[0]) == [*kept, *metrics, "metric/test/epoch", "metric/test/test/acc"]
    used.list_file("a").write_text("a\n")
    grouped = rows(used, "a", "--varying", "--group", "tag", name="a")[0]
    assert list(grouped)[:5] == ["tag", "runs", "finished", "metric/best/val/acc/n", "metric/best/val/acc/mean"]
    used.list_file("same").write_text("a/0\n")
    assert list(rows(used, "same", "--varying", name="same")[0]) == ["run", "status", "epoch"]


def test_groups_have_mean_spread_and_interval_of_their_finished_runs(used: paths.Project) -> None:
    manager.edit_record(used, "a/2", status="failed")
    exper(used, "rerun", "a")
    c, b, a, d = rows(used, "--group", "tag")
    assert [row["tag"] for row in (c, b, a, d)] == ["c", "b", "a", "d"]
    assert [(row["runs"], row["finished"]) for row in (c, b, a, d)] == [("1", "0"), ("1", "1"), ("4", "3"), ("1", "0")]
    assert b["hparam/optimizer.lr"] == "1e-05"
    name = "metric/best/val/acc"
    scores = [0.1, 0.1 + 0.1, 0.1 + 0.1 * 3]
    low, high = stats.t.interval(0.95, 2, loc=float(a[f"{name}/mean"]), scale=stats.sem(scores))
    assert a[f"{name}/n"] == "3"
    assert float(a[f"{name}/mean"]) == pytest.approx(sum(scores) / 3, rel=1e-15)
    assert float(a[f"{name}/std"]) == pytest.approx(stats.tstd(scores), rel=1e-12)
    assert float(a[f"{name}/ci95"]) == pytest.approx((high - low) / 2, rel=1e-12)
    assert (a["metric/test/test/acc/mean"], a["metric/test/test/acc/std"]) == ("1e-05", "0.0")
    assert [b[f"{name}/{what}"] for what in ("n", "mean", "std", "ci95")] == ["1", "0.1", "", ""]
    assert {cell for at, cell in c.items() if at.startswith("metric/")} == {""}


def test_groups_of_a_setting_drop_settings_that_differ_inside(used: paths.Project) -> None:
    by_lr = rows(used, "--group", "optimizer.lr", "--sort", "metric/best/val/acc")
    assert next(iter(by_lr[0])) == "hparam/optimizer.lr"
    assert [row["hparam/optimizer.lr"] for row in by_lr] == ["0.1", "1e-05", "13.0", "14.0"]
    by_text = rows(used, "--group", "hparam/text")
    assert len(by_text) == 1
    assert (by_text[0]["runs"], by_text[0]["finished"], by_text[0]["metric/best/val/acc/n"]) == ("6", "4", "4")
    assert "hparam/optimizer.lr" not in by_text[0]
    assert by_text[0]["hparam/epochs"] == "3"
    set_statistic(used, "b/0", {"text": "other"}, best={"val/acc": math.inf, "big": 10**400})
    inf = rows(used, "--group", "text", "--varying")[1]
    assert (inf["hparam/text"], inf["metric/best/val/acc/mean"], inf["metric/best/big/mean"]) == ("other", "inf", "inf")
    for words in (["--group", "status"], ["--group", "best/val/acc"]):
        assert "by tag or by a setting" in refused(used, "table", *words)
    assert "there is no column" in refused(used, "table", "--group", "unheard.of")


def test_what_has_no_value_is_a_group_of_its_own(used: paths.Project) -> None:
    for name, hparam in (("a/0", {"x": None}), ("a/1", {}), ("a/2", {"x": "None"}), ("b/0", {})):
        set_statistic(used, name, hparam, best={"val/acc": 0.5})
    used.list_file("four").write_text("a\nb\n")
    by_x = rows(used, "four", "--group", "x", name="four")
    assert [(row["hparam/x"], row["runs"]) for row in by_x] == [("None", "1"), ("", "2"), ("'None'", "1")]


# -- formats -----------------------------------------------------------------------------------------------------------


class Cells(html.parser.HTMLParser):
    """The cells of an HTML table as a browser reads them, and the elements that it found."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.elements: set[str] = set()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.elements.add(tag)
        if tag in ("td", "th"):
            self.found.append("")

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1] += data.strip("\n")


def test_every_format_escapes_what_it_shows(used: paths.Project) -> None:
    used.titles.mkdir()
    header = "<script>|&_$%#{}~^*\\ `x` [a] \"q\" 'q'"
    title = {"hparam": {"text": header, "list": "[l]"}, "metric": {"best/val/acc": "a\nb\x1b[31m"}}
    used.title_file("record").write_text(json.dumps(title))
    for form, ending in (("md", "md"), ("latex", "tex"), ("html", "html"), ("csv", "csv")):
        exper(used, "table", "--format", form)
        text = used.table_file("record", ending).read_text()
        assert ("\x1b" in text) == (form == "csv")
    at = {ending: used.table_file("record", ending).read_text() for ending in ("md", "tex", "html", "csv")}
    assert next(csv.reader(io.StringIO(at["csv"])))[3:] == [header, "[l]", "a\nb\x1b[31m"]
    lines = at["md"].splitlines()
    assert len(lines) == 8
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}
    assert "&lt;script&gt;\\|&amp;\\_\\$" in lines[0]
    page = Cells()
    page.feed(at["html"])
    assert page.elements == {"meta", "table", "tr", "td", "th"}
    assert page.found[3:6] == [header, "[l]", "a\\nb\\x1b[31m"]
    assert "0.30000000000000004" in page.found
    assert r"\textless{}script\textgreater{}\textbar{}\&\_\$\%\#\{\}\textasciitilde{}\textasciicircum{}{*}" in at["tex"]
    assert [line for line in at["tex"].splitlines() if line.endswith("rule")] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    assert {line.replace(r"\&", "").count("&") for line in at["tex"].splitlines() if line.endswith(r"\\")} == {5}


def test_json_has_rows_with_raw_values_under_stable_names(used: paths.Project) -> None:
    used.titles.mkdir()
    used.title_file("record").write_text('{"hparam": {"optimizer.lr": "lr"}, "metric": {"best/val/acc": "acc"}}')
    found = json.loads(exper(used, "table", "--json", "--sort", "acc").stdout)
    best = {"run": "a/2", "status": "finished", "epoch": 3, "hparam/optimizer.lr": 0.1}
    assert found[0] == best | {"metric/best/val/acc": 0.30000000000000004}
    assert found[-1] == {"run": "d/0", "status": "died", "epoch": 3, "hparam/optimizer.lr": 14.0}
    assert not used.tables.exists()
    grouped = json.loads(exper(used, "table", "--json", "--group", "tag").stdout)
    assert grouped[0] == {"tag": "c", "runs": 1, "finished": 0, "hparam/optimizer.lr": 13.0}
    for words in (["expls"], ["expels", "a"]):
        shown = json.loads(exper(used, *words, "--json").stdout)
        newest = shown[0]["newest"] if words == ["expls"] else shown[-1]
        assert newest | {"seed": 0, "started": ""} == {
            "run": "a/2", "status": "finished", "seed": 0, "epoch": 3, "epochs": 3, "started": "",
            "best": {"name": "val/acc", "value": 0.30000000000000004, "epoch": 2},
        }  # fmt: skip
        assert newest["started"].endswith("+00:00")
    counts = [(tag["tag"], tag["runs"]) for tag in json.loads(exper(used, "expls", "--json").stdout)]
    assert counts == [("a", {"finished": 3}), ("b", {"finished": 1}), ("c", {"failed": 1}), ("d", {"died": 1})]


def test_without_runs_json_is_an_empty_list(project: paths.Project) -> None:
    assert json.loads(exper(project, "expls", "--json").stdout) == []
    project.lists.mkdir(parents=True)
    project.list_file("record").touch()
    assert json.loads(exper(project, "table", "--json").stdout) == []
    assert rows(project) == []


# -- lists -------------------------------------------------------------------------------------------------------------


def test_a_list_as_users_write_it(used: paths.Project) -> None:
    text = "\ufeff# mine\r\n\r\n  b # best\r\n[ad]/[01]\r\na/2\ra\r\nbase/0\n../a\n/etc\n*x\nuntagged\n"
    text += "d/\n" + "x" * 300 + "\n" + "a/" + "9" * 5000 + "\n"
    (used.root / "my list.txt").write_bytes(text.encode())
    done = exper(used, "table", "my list.txt", code=1)
    assert done.stderr.count("there is no such run; skipped") == 7
    found = list(csv.DictReader(io.StringIO(used.table_file("my list", "csv").read_text())))
    assert [row["run"] for row in found] == ["b/0", "a/0", "a/1", "d/0", "a/2"]


def test_what_names_no_list_is_refused_and_writes_nothing(used: paths.Project) -> None:
    assert "there is no list 'recor'. Did you mean 'record'?" in refused(used, "table", "recor")
    assert "type: record -l a <tag>" in refused(used, "table", "a")
    assert "there is no list 'gone.txt'" in refused(used, "table", "gone.txt")
    assert "can't be the name of a list" in refused(used, "table", "../record")
    assert "there is no list 'finished.txt'" in refused(used, "table", "finished.txt")
    used.list_file("record").unlink()
    assert "there is no list 'record'. To make it, type: record\n" in refused(used, "table")
    assert not used.tables.exists()
    assert len(rows(used, "finished", name="finished")) == 4


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff", '{"a": 1} x', "[" * 100_000])
def test_a_damaged_file_is_named_and_its_run_is_no_number(used: paths.Project, text: str) -> None:
    manager.the_run(used, "a/1").statistic.write_bytes(text.encode(errors="surrogateescape"))
    manager.the_run(used, "a/2").record.write_bytes(text.encode(errors="surrogateescape"))
    done = exper(used, "table", code=1)
    assert "a/1/statistic.json is damaged" in done.stderr
    assert "a/2/run.json is damaged" in done.stderr
    found = {row["run"]: row for row in rows(used, code=1)}
    for name in ("a/1", "a/2"):
        assert {cell for at, cell in found[name].items() if at != "run"} == {"damaged", ""}
    assert rows(used, "--group", "tag", code=1)[2]["finished"] == "1"


def test_many_problems_are_counted(used: paths.Project) -> None:
    used.list_file("record").write_text("".join(f"gone\x1b/{number}\n" for number in range(30)))
    error = exper(used, "table", code=1).stderr.splitlines()
    assert len(error) == 12
    assert error[-1] == "table: and 20 more"
    assert "\x1b" not in "".join(error)


def test_many_runs_are_read_by_several_processes_in_their_order(used: paths.Project) -> None:
    manager.the_run(used, "a/1").statistic.write_text("{")
    runs = [run for tag in used.tags() for run in tag.runs()]
    assert rows_of_runs.read_all(runs * 1000) == [rows_of_runs.read(run) for run in runs] * 1000


def test_a_table_in_both_shells(used: paths.Project) -> None:
    for shell in ("bash", "zsh"):
        if not shutil.which(shell):
            pytest.skip(f"{shell} IS NOT INSTALLED")
        words = [
            shell,
            *(["--norc"] if shell == "bash" else ["-f"]),
            "-c",
            '. "$1" && title && table --sort best/val/acc',
        ]
        shown = subprocess.run(
            [*words, shell, str(used.code / "source.sh")], capture_output=True, text=True, cwd=used.root, check=True
        ).stdout.splitlines()
        assert [line.split()[0] for line in shown[-6:]] == ["a/2", "a/1", "b/0", "a/0", "c/0", "d/0"]
