"""`exper plot`: which curves are in the picture, under which names, whatever history holds."""

import html
import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from exper.core import paths
from exper.views import plotting
from tests.conftest import copy_project
from tests.support import manager
from tests.support.manager import exper, refused, the_run, write

# Trains nothing: its curves follow from the id and the learning rate.
MAIN = """\
import json, os, pathlib, sys
import config
run, lr = pathlib.Path(os.environ["EXPER_RUN"]), config.optimizer["lr"]
with open(run / "history.jsonl", "w") as history:
    for epoch in range(1, config.epochs + 1):
        loss = 1 / (1 + lr * epoch) + int(run.name) / 20
        line = {"epoch": epoch, "step": 10 * epoch, "train/loss": loss, "val/loss": 1.1 * loss, "val/acc": 1 - loss}
        print(json.dumps(line | {"lr": lr, "weights": "ab", "seconds": 0.1}), file=history)
hparam = {"epochs": config.epochs, "optimizer.name": "sgd", "optimizer.lr": lr}
(run / "statistic.json").write_text(json.dumps({"hparam": hparam, "metric": {}}))
"""


@pytest.fixture(scope="module")
def _drawn(module_project: paths.Project) -> paths.Project:
    write(module_project, main=MAIN)
    exper(module_project, "run", "base")
    exper(module_project, "rerun", "base")
    exper(module_project, "run", "wide", "optimizer.lr=0.5", "epochs=5")
    return module_project


@pytest.fixture
def drawn(_drawn: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with base/0, base/1 and wide/0."""
    return copy_project(_drawn, tmp_path / "it's a próject")


def texts(project: paths.Project, *words: str, code: int = 0) -> list[str]:
    """Draw an svg and return the texts in it."""
    exper(project, "plot", *words, "-o", "picture.svg", code=code)
    return in_svg(project.root / "picture.svg")


def in_svg(path: Path) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())]


def curves(project: paths.Project, color: str) -> int:
    """Return the number of curves of a color in the svg; lines of the legend are not clipped."""
    return len(re.findall(rf"<path [^>]*clip-path[^>]*stroke: {color}", (project.root / "picture.svg").read_text()))


def write_history(project: paths.Project, name: str, *content: dict[str, Any] | str) -> None:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in content)
    the_run(project, name).history.write_text(text)


def test_all_runs_and_metrics_are_there(drawn: paths.Project) -> None:
    shown = texts(drawn, "base", "wide/0")
    assert {"loss", "val/acc", "lr", "epoch", "base/0", "base/1", "wide/0", "train (thin)", "val (bold)"} <= set(shown)
    assert shown.count("base/1") == 1
    assert shown.index("loss") < shown.index("val/acc") < shown.index("lr")
    assert [curves(drawn, color.lower()) for color in plotting._COLORS[:4]] == [4, 4, 4, 0]


def test_a_metric_called_as_what_others_have_in_common_is_drawn_beside_them(drawn: paths.Project) -> None:
    write_history(drawn, "base/0", {"epoch": 1, "val/loss/ce": 0.5, "loss/ce": 0.25, "val/acc/top1": 0.5})
    assert {"val/loss/ce", "loss/ce", "val/acc/top1"} <= set(texts(drawn, "base/0"))


def test_a_list_goes_to_the_folder_of_plots(drawn: paths.Project) -> None:
    drawn.lists.mkdir(parents=True, exist_ok=True)
    drawn.list_file("mine").write_text("# of May\nbase/1\r\nwide\n")
    done = exper(drawn, "plot", "mine", "--format", "svg")
    assert done.stdout == "__statistic__/plot/mine.svg: 2 runs, train/loss, val/loss, val/acc, lr\n"
    assert "base/0" not in in_svg(drawn.plots / "mine.svg")
    assert stat.S_IMODE((drawn.plots / "mine.svg").stat().st_mode) == 0o644


def test_different_words_are_different_files(drawn: paths.Project) -> None:
    drawn.lists.mkdir(parents=True, exist_ok=True)
    for name in ("数据", "模型", "a b", "x" * 120, "x" * 119 + "y"):
        drawn.list_file(name).write_text("base/0\n")
        exper(drawn, "plot", name, "--metric", "lr", "--format", "svg")
    exper(drawn, "plot", "base/0", "*/0", "wid?", "[ab]*/0", "--metric", "lr", "--format", "svg")
    names = sorted(os.listdir(drawn.plots))
    assert names[:2] == ["a b.svg", "base@0,~@0,wid^,{ab}~@0.svg"]
    assert names[-2:] == ["数据.svg", "模型.svg"]
    assert [len(name) for name in names[2:4]] == [113, 113]
    assert len(names) == 6


def test_a_list_elsewhere_does_not_take_the_place_of_the_projects_own(drawn: paths.Project) -> None:
    drawn.lists.mkdir(parents=True, exist_ok=True)
    drawn.list_file("mine").write_text("base/0\n")
    (drawn.root / "mine.txt").write_text("wide/0\n")
    for command in ("plot", "report", "table", "title"):
        assert "mine.txt is not the project's list 'mine'" in refused(drawn, command, "mine.txt")
    assert "wide/0" in texts(drawn, "mine.txt")
    exper(drawn, "plot", str(drawn.list_file("mine")))


def test_without_words_it_is_the_list_record(drawn: paths.Project) -> None:
    assert "there is no list 'record'" in refused(drawn, "plot")
    drawn.lists.mkdir(parents=True, exist_ok=True)
    drawn.list_file("record").write_text("base/0\n")
    exper(drawn, "plot")
    assert (drawn.plots / "record.png").exists()


def test_a_png_shows_curves_and_other_curves_otherwise(drawn: paths.Project) -> None:
    exper(drawn, "plot", "base", "-o", "base.png")
    exper(drawn, "plot", "wide", "-o", "wide.png")
    pixels = [image.imread(drawn.root / name)[:400, :, :3] for name in ("base.png", "wide.png")]
    assert pixels[0].shape[1] == 1500
    for one in pixels:
        blue = np.abs(one - np.array([0, 0x72, 0xB2]) / 255).max(axis=2) < 0.02
        assert blue.sum() > 500
    assert np.abs(pixels[0] - pixels[1]).max() > 0.5


def test_a_pdf_is_one(drawn: paths.Project) -> None:
    exper(drawn, "plot", "base", "--format", "pdf")
    assert (drawn.plots / "base.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_curves_give_the_same_bytes(drawn: paths.Project, kind: str) -> None:
    for name in ("one", "two"):
        exper(drawn, "plot", "base", "wide", "--group", "tag", "-o", f"{name}.{kind}")
    content = (drawn.root / f"one.{kind}").read_bytes()
    assert content == (drawn.root / f"two.{kind}").read_bytes()
    assert not re.search(rb"\b20\d\d-\d\d-\d\d", content)


def test_chosen_metrics_by_name_or_for_all_splits(drawn: paths.Project) -> None:
    assert {"val/loss", "base/0"} <= set(shown := texts(drawn, "base", "--metric", "val/loss"))
    assert not {"loss", "val/acc", "lr", "val (bold)"} & set(shown)
    assert {"loss", "train (thin)", "val/acc"} <= set(texts(drawn, "base", "--metric", "loss", "--metric", "val/acc"))


def test_an_unknown_metric_offers_the_nearest_and_lists_all(drawn: paths.Project) -> None:
    said = refused(drawn, "plot", "base", "--metric", "val/los")
    assert "Did you mean 'val/loss'? Known: lr, train/loss, val/acc, val/loss." in said
    assert not drawn.plots.exists()


def test_a_group_is_a_mean_with_n_and_a_band(drawn: paths.Project) -> None:
    shown = texts(drawn, "base", "wide", "--group", "tag", "--metric", "val/loss")
    assert {"base (n=2)", "wide (n=1)"} <= set(shown)
    assert len(re.findall('id="\\w*PolyCollection', (drawn.root / "picture.svg").read_text())) == 2
    shown = texts(drawn, "base", "wide", "--group", "optimizer.lr")
    assert {"optimizer.lr=0.1 (n=2)", "optimizer.lr=0.5 (n=1)"} <= set(shown)


def test_groups_keep_apart_what_only_looks_the_same(drawn: paths.Project) -> None:
    for number, hparam in enumerate(({"x": None}, {"x": "None"}, {})):
        exper(drawn, "rerun", "base")
        the_run(drawn, f"base/{number + 2}").statistic.write_text(json.dumps({"hparam": hparam}))
    shown = texts(drawn, "base/2", "base/3", "base/4", "--group", "x", "--metric", "lr")
    assert {"x=None (n=1)", "x='None' (n=1)", "no x (n=1)"} <= set(shown)


def test_an_unknown_setting_to_group_by_is_refused(drawn: paths.Project) -> None:
    assert "Did you mean 'optimizer.lr'?" in refused(drawn, "plot", "base", "--group", "optimizer.rl")


def test_runs_of_different_length_points_alone_nan_and_infinity(drawn: paths.Project) -> None:
    write_history(drawn, "base/0", {"epoch": 1, "val/loss": 0.5})
    nan = float("nan")
    infinite = float("inf")
    write_history(
        drawn, "base/1", {"epoch": 1, "val/loss": nan}, {"epoch": 2, "val/loss": 0.5}, {"epoch": 3, "val/loss": nan},
        {"epoch": 9, "val/loss": infinite}, {"epoch": 10, "val/loss": 1e308}, {"epoch": 11, "val/loss": 10**400},
        {"epoch": "x", "val/loss": 1}, {"val/loss": 1}, {"epoch": 12, "val/loss": None}, {"epoch": 13, "val/acc": True},
    )  # fmt: skip
    for more in ([], ["--group", "tag"], ["--log"]):
        assert "wide/0" in (shown := texts(drawn, "base", "wide", *more)) or "wide (n=1)" in shown
    write_history(drawn, "base/0", {"epoch": 1, "train/loss": 0.5})
    exper(drawn, "plot", "base/0", "-o", "point.png")
    pixels = image.imread(drawn.root / "point.png")[:500, :, :3]
    assert (np.abs(pixels - np.array([0, 0x72, 0xB2]) / 255).max(axis=2) < 0.02).sum() > 30


def test_all_values_nan(drawn: paths.Project) -> None:
    write_history(drawn, "base/0", {"epoch": 1, "val/loss": float("nan")}, {"epoch": float("nan"), "val/acc": 1})
    assert "val/loss" in texts(drawn, "base/0")
    texts(drawn, "base/0", "--log", "--group", "tag")


def test_a_run_that_is_being_written_is_drawn_as_far_as_it_is(drawn: paths.Project) -> None:
    with open(the_run(drawn, "base/0").history, "a") as file:
        file.write('{"epoch": 4, "val/lo')
    assert "base/0" in texts(drawn, "base")


@pytest.mark.parametrize("line", ["{", "5", "[1]", "null", "[" * 100_000, '{"epoch": 1} x'])
def test_a_damaged_history_is_said_and_skipped(drawn: paths.Project, line: str) -> None:
    write_history(drawn, "base/1", {"epoch": 1, "val/loss": 1}, line, {"epoch": 3, "val/loss": 1})
    done = exper(drawn, "plot", "base", "-o", "picture.svg", code=1)
    assert "base/1/history.jsonl, line 2 is damaged" in done.stderr
    assert "skipped" in done.stderr
    assert "base/0" in (shown := in_svg(drawn.root / "picture.svg"))
    assert "base/1" not in shown


def test_unknown_runs_of_a_list_and_runs_without_curves_are_said_and_skipped(drawn: paths.Project) -> None:
    drawn.lists.mkdir(parents=True, exist_ok=True)
    drawn.list_file("mine").write_text("bass/0\nbase\nwide\n")
    the_run(drawn, "base/0").history.unlink()
    write_history(drawn, "base/1", {"epoch": 1, "other/f1": 0.1})
    done = exper(drawn, "plot", "mine", "--metric", "val/loss", code=1)
    assert "mine.txt names 'bass/0', and there is no such run; skipped" in done.stderr
    assert "base/0 has no metrics yet; skipped" in done.stderr
    assert "base/1 has none of these metrics; skipped" in done.stderr
    assert "1 run, val/loss" in done.stdout


def test_without_any_metric_it_is_refused(drawn: paths.Project) -> None:
    the_run(drawn, "wide/0").history.write_text("")
    assert "none of these runs has metrics" in refused(drawn, "plot", "wide")


def test_names_are_drawn_as_they_are(drawn: paths.Project) -> None:
    names = ["val/$x_1$", "val/<b>&", "val/\x1b[31m\n", "val/損失😀", "_a/b", "val/\ud800", r"val/\frac{1}{2}$"]
    write_history(drawn, "base/0", *({"epoch": epoch} | dict.fromkeys(names, epoch) for epoch in (1, 2)))
    shown = texts(drawn, "base/0")
    for name in ("val/$x_1$", "val/<b>&", r"val/\x1b[31m\n", "val/損失😀", "_a/b", r"val/\ud800", r"val/\frac{1}{2}$"):
        assert name in shown
    done = exper(drawn, "plot", "base/0")
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_twenty_long_tags_are_cut_and_stay_apart(project: paths.Project) -> None:
    for number in range(20):
        name = f"search+optimizer.lr={number}+model.dropout=0.5+data.batch_size=128+a.very.long.setting=none"
        the_run(project, f"{name}/0").folder.mkdir(parents=True)
        write_history(project, f"{name}/0", *({"epoch": epoch, "val/loss": number + epoch} for epoch in range(1, 9)))
    shown = [text for text in texts(project, "search*") if text.startswith("search")]
    assert len(set(shown)) == 20
    assert max(map(len, shown)) <= 60
    looks = set(re.findall(r'style="fill: none; (stroke[^"]*stroke: #[^"]*|stroke: #[^"]*)"',
                           (project.root / "picture.svg").read_text()))  # fmt: skip
    assert len([look for look in looks if "stroke-width: 1.5" in look]) >= 20


def test_a_legend_has_a_hundred_names_and_says_how_many_more_there_are(project: paths.Project) -> None:
    for number in range(105):
        the_run(project, f"base/{number}").folder.mkdir(parents=True)
        write_history(project, f"base/{number}", *({"epoch": epoch, "val/loss": number} for epoch in (1, 2)))
    shown = texts(project, "base")
    assert len([text for text in shown if text.startswith("base/")]) == 100
    assert "5 more" in shown


def test_curves_of_steps_are_drawn_when_asked_for_or_alone(drawn: paths.Project) -> None:
    steps = [{"epoch": 1, "step": step, "step/loss": 1 / step} for step in range(1, 9)]
    write_history(drawn, "base/0", *steps)
    assert {"step/loss", "step"} <= set(texts(drawn, "base/0"))
    write_history(drawn, "base/0", *steps, {"epoch": 1, "step": 8, "val/loss": 0.5})
    assert "step/loss" not in texts(drawn, "base/0")
    assert "step/loss" in texts(drawn, "base/0", "--metric", "step/loss")


def test_a_link_stays_and_its_file_is_replaced(drawn: paths.Project) -> None:
    (drawn.root / "link.png").symlink_to(drawn.root / "a b.png")
    assert exper(drawn, "plot", "base", "-o", "link.png").stdout.startswith("a b.png: ")
    assert (drawn.root / "link.png").is_symlink()
    os.mkfifo(drawn.root / "pipe.png")
    assert "that is not a file" in refused(drawn, "plot", "base", "-o", "pipe.png")
    assert stat.S_ISFIFO((drawn.root / "pipe.png").lstat().st_mode)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["base", "-o", "picture.jpg"], "picture.jpg: the name of the file must end in .png, .svg or .pdf."),
        (["base", "-o", "picture"], "must end in .png"),
        (["base", "-o", "a.svg", "--format", "pdf"], "must end in .pdf"),
        (["base", "-o", "no/such/a.svg"], "there is no folder no/such"),
        (["base", "--format", "jpg"], "invalid choice"),
        (["bsae"], "Did you mean 'base'?"),
        (["base/7"], "there is no run base/7"),
        (["no.txt"], "there is no list no.txt"),
        (["../base"], "can't be a tag"),
        (["base", "--metrics", "loss"], "unrecognized arguments"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(drawn: paths.Project, words: list[str], says: str) -> None:
    before = sorted(os.listdir(drawn.root))
    assert says in refused(drawn, "plot", *words)
    assert sorted(os.listdir(drawn.root)) == before
    assert not drawn.plots.exists()


def test_a_folder_that_may_not_be_written_is_refused(drawn: paths.Project) -> None:
    drawn.statistic.mkdir(exist_ok=True)
    drawn.plots.write_text("")  # no folder; root may write into any
    assert "can't be written" in refused(drawn, "plot", "base")


def test_a_foreign_backend_does_not_matter(drawn: paths.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://not_installed.backend")
    exper(drawn, "plot", "base")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_in_both_shells_from_a_folder_within(drawn: paths.Project, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} IS NOT INSTALLED: exper plot is not tested there")
    words = [shell, "-c", ". ../source.sh && exper plot 'b*' wide/0 --metric val/loss"]
    done = subprocess.run(words, cwd=drawn.code / "exper", capture_output=True, text=True, check=True)
    assert done.stdout == "../../__statistic__/plot/b~,wide@0.png: 3 runs, val/loss\n"
    assert (drawn.plots / "b~,wide@0.png").stat().st_size > 10_000


def test_the_user_s_tree_stays_as_it_is(drawn: paths.Project) -> None:
    with manager.untouched(drawn.root):
        exper(drawn, "plot", "base")
