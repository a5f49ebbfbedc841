"""`report`: what its page tells, to a reader with scripts, without them, on a phone, and what it lets nobody do."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from exper.core import paths
from tests.conftest import copy_project
from tests.support import browser, campaign, manager
from tests.support.manager import exper, refused, write

# Trains as `lr` says: the higher, the sooner it is good; above 1 it fails.
MAIN = """\
import json, os, pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import config
run, lr = pathlib.Path(os.environ["EXPER_RUN"]), config.optimizer["lr"]
hparam = {"epochs": config.epochs, "optimizer.name": "sgd", "optimizer.lr": lr, "monitor": "max val/acc"}
print("\\x1b[1mtraining\\x1b[0m with lr", lr)
metric = {"last": {}, "best": {}, "test": {}}
with open(run / "history.jsonl", "w") as history:
    for epoch in range(1, config.epochs + 1):
        acc = 0.123456789 + lr * epoch / 10
        line = {"epoch": epoch, "step": 10 * epoch, "val/acc": acc, "val/loss": 1 - acc if lr < 0.8 else float("nan")}
        history.write(json.dumps(line) + "\\n")
        metric["last"] = metric["best"] = {"epoch": epoch, "val/acc": acc}
about = {"hparam": hparam, "device": {"name": "an abacus"}, "metric": metric}
(run / "statistic.json").write_text(json.dumps(about))
sys.exit("the loss is not finite" if lr > 1 else 0)
"""
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1;alert(1)'>\"\u2028\u202e&lt;"


class _Text(HTMLParser):
    """What a reader without scripts and styles sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.names: set[str] = set()
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.names |= {tag, *(name for name, _ in attributes)}

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.shown.append(data)


@pytest.fixture(scope="module")
def read_only(module_project: paths.Project) -> paths.Project:
    """Return a project with four runs, one of them failed, and their report; no test may change it."""
    project = copy_project(module_project, module_project.root.parent / "it's a próject")
    write(project, main=MAIN)
    exper(project, "run", "base", "-f", "-m", "the reference")
    exper(project, "rerun", "base")
    exper(project, "run", "fast", "optimizer.lr=0.9", "-m", "is it\nfaster?")
    exper(project, "run", "wild", "optimizer.lr=2.0", code=1)
    _list(project, "record", "fast\nbase  # the old one\nwild\n")
    assert exper(project, "report").stdout == "__statistic__/report/record.html\n"
    return project


@pytest.fixture
def study(read_only: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a copy of `read_only`."""
    return copy_project(read_only, tmp_path / "it's a próject")


def _list(project: paths.Project, name: str, text: str) -> None:
    project.lists.mkdir(parents=True, exist_ok=True)
    project.list_file(name).write_text(text)


def _column(page: Any, name: str) -> list[str]:
    at = page.locator("#runs thead th").evaluate_all(
        "(all, name) => all.findIndex(o => o.dataset.column === name)", name
    )
    rows = page.locator("#runs tbody tr:visible")
    return [text.strip() for text in rows.locator(f":nth-child({at + 1}):is(td, th)").all_inner_texts()]


def test_without_scripts_the_page_tells_everything_but_the_curves(read_only: paths.Project) -> None:
    path = read_only.report_file("record")
    text = " ".join(" ".join(_Text(path.read_text()).shown).split())
    for told in (
        "it's a próject", "record", "4 runs: 3 finished, 1 failed",
        "fast/0", "base/0", "base/1", "wild/0",
        "The highest val/acc of a finished run: 0.3935 , fast/0 , epoch 3",
        "optimizer.lr 0.1 2 of 4 base/0 1 0.9 1 of 4 fast/0 2.0 1 of 4 wild/0",
        "3 settings, the same in all 4 runs",
        "the reference", "is it faster?", "optimizer.lr=0.9", "1 file changed",
        "wild/0 failed (exit code 1)", "training with lr 2.0 the loss is not finite",
        "an abacus", "run base -f", "3.1",
    ):  # fmt: skip
        assert told in text, told


def test_only_failed_and_died_runs_have_their_log_in_it(read_only: paths.Project) -> None:
    text = read_only.report_file("record").read_text()
    assert text.count("<pre") - text.count('class="diff"') == 1
    assert "\\x1b" not in text


def test_the_same_runs_make_the_same_bytes_but_for_the_time(study: paths.Project) -> None:
    path = study.report_file("record")
    first = path.read_text()
    exper(study, "report", "-o", str(path))
    assert re.sub("<time.*?</time>", "", first) == re.sub("<time.*?</time>", "", path.read_text())


def test_a_small_study_makes_a_small_page(read_only: paths.Project) -> None:
    assert read_only.report_file("record").stat().st_size < 130_000


@pytest.mark.parametrize(
    ("words", "name"),
    [(["base"], "base"), (["base/0", "fast"], "base@0,fast"), (["b*", "*/0"], "b~,~@0"), (["mine"], "mine"),
     (["there/yours.txt"], "yours"), (["数据"], "数据")],
)  # fmt: skip
def test_the_page_is_called_as_the_runs_were(study: paths.Project, words: list[str], name: str) -> None:
    for list_ in ("mine", "数据"):
        _list(study, list_, "base/0\n")
    (study.root / "there").mkdir()
    (study.root / "there" / "yours.txt").write_text("base\n")
    shown = exper(study, "report", *words).stdout
    assert shown == f"__statistic__/report/{name}.html\n"
    assert (study.root / shown[:-1]).exists()


def test_it_is_written_where_the_user_says(trained: paths.Project, tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to(tmp_path / "a b.html")
    assert exper(trained, "report", "base", "-o", str(tmp_path / "link.html")).stdout == "../a b.html\n"
    assert (tmp_path / "link.html").is_symlink()
    assert not trained.reports.exists()


def test_unknown_runs_of_a_list_are_said_and_left_out(trained: paths.Project) -> None:
    _list(trained, "record", "base\nbase/7\nno\x1bwhere\n")
    done = exper(trained, "report", code=1)
    assert "record.txt names 'base/7', and there is no such run; skipped" in done.stderr
    assert "\x1b" not in done.stderr
    text = trained.report_file("record").read_text()
    assert "base/7" in text
    assert text.count('scope="row"') == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [([], "there is no list 'record'. To make it, type: record"),
     (["bas"], "Did you mean 'base'?"), (["base/3"], "there is no run base/3"),
     (["empty"], "names no run"),
     (["no.txt"], "there is no list no.txt"), (["../x"], "can't be a tag"), (["none*"], "can't be a tag"),
     (["base", "-o", "x.pdf"], "the name of the file must end in .html or .htm."),
     (["base", "-o", "no/where.html"], "there is no folder"), (["base", "-o", "folder.html"], "that is not a file"),
     (["base", "-o", "/proc/x.html"], "can't be written"), (["base", "-o"], "expected one argument")],
)  # fmt: skip
def test_what_can_not_be_done_is_refused_and_leaves_nothing(
    trained: paths.Project, words: list[str], says: str
) -> None:
    _list(trained, "empty", "# nothing yet\n")
    (trained.root / "folder.html").mkdir()
    with manager.nothing_left(trained):
        assert says in refused(trained, "report", *words)
    assert not trained.reports.exists()


def test_a_running_run_is_shown_as_such_without_results(project: paths.Project) -> None:
    write(
        project,
        main=MAIN.replace(
            "sys.exit(", "(run / 'ready').write_text(str(os.getpid()))\nimport time\ntime.sleep(60)\nsys.exit("
        ),
    )
    with manager.training(project, "run", "base"):
        exper(project, "report", "base")
        text = project.report_file("base").read_text()
    assert "1 run: 1 running" in text
    assert "metric/" not in text
    assert '"val/acc"' in text  # its curves so far


def test_a_run_that_was_never_told_its_end_has_died_and_shows_its_log(project: paths.Project) -> None:
    write(project, main="print('the last words')")
    exper(project, "run", "base")
    manager.edit_record(project, "base/0", status="running", ended=None)
    exper(project, "report", "base")
    assert "the last words" in project.report_file("base").read_text()


@pytest.mark.parametrize("name", ["history", "statistic", "record"])
def test_damage_is_said_in_the_page_and_on_stderr(study: paths.Project, name: str) -> None:
    path = study.report_file("record")
    getattr(manager.the_run(study, "base/0"), name).write_text('{"epoch": 1}\n{"epoch\n{"epoch": 3}\n')
    done = exper(study, "report", code=1)
    assert "is damaged" in done.stderr
    assert "is damaged" in path.read_text()
    assert "base/1" in path.read_text()


def test_curves_that_can_not_be_read_are_said_and_the_rest_is_shown(study: paths.Project) -> None:
    path = study.report_file("record")
    manager.the_run(study, "base/0").history.unlink()
    manager.the_run(study, "base/0").history.mkdir()
    manager.the_run(study, "base/1").history.write_text('{"epoch": NaN, "val/loss": 1.0}\n')
    assert "base/0/history.jsonl can't be read: Is a directory" in exper(study, "report", code=1).stderr
    assert "can&#x27;t be read: Is a directory" in path.read_text()
    assert "0.3935" in path.read_text()


def test_settings_that_only_look_the_same_are_told_apart(project: paths.Project) -> None:
    for number, hparam in enumerate(({"x": None}, {"x": "None"}, {"x": "not set"}, {})):
        exper(project, *(["rerun", "base"] if number else ["run", "base"]))
        manager.the_run(project, f"base/{number}").statistic.write_text(json.dumps({"hparam": hparam}))
    exper(project, "report", "base")
    text = " ".join(" ".join(_Text(project.report_file("base").read_text()).shown).split())
    for told in ("None 1 of 4 base/0", "'None' 1 of 4 base/1", "not set 1 of 4 base/2", "not set 1 of 4 base/3"):
        assert told in text


@pytest.mark.parametrize("content", [{}, [], 5, {"hparam": 1, "metric": 2, "device": 3}, {"metric": {"best": 1}},
     {"hparam": {"epochs": [1], "monitor": {}}, "metric": {"last": {"epoch": {}}, "best": {"x": "high", "y": None}}},
     {"hparam": {"monitor": "max x", "big": 10**400}, "metric": {"best": {"x": float("nan")}}}])  # fmt: skip
def test_a_strangers_statistic_is_shown_as_far_as_it_can_be_read(trained: paths.Project, content: object) -> None:
    manager.the_run(trained, "base/0").statistic.write_text(json.dumps(content))
    exper(trained, "report", "base", code=0 if isinstance(content, dict) else 1)


@pytest.mark.parametrize(
    "changes",
    [{"commit": 5}, {"commit": "0" * 40}, {"commit": "--all\n"}, {"versions": 5, "environment": [1]}, {"command": {}},
     {"started": "soon"}, {"host": None, "exit_code": {}}, {"sessions": [{"started": 5}]}],
)  # fmt: skip
def test_a_strange_record_is_shown_as_far_as_it_can_be_read(trained: paths.Project, changes: dict[str, Any]) -> None:
    at = manager.the_run(trained, "base/0").record
    at.write_text(json.dumps(json.loads(at.read_text()) | changes))
    is_damaged = manager.state(trained, "base/0") == "damaged"
    exper(trained, "report", "base", code=int(is_damaged))
    assert "base/0" in trained.report_file("base").read_text()


def test_what_became_of_a_tag_is_said(project: paths.Project, git: Callable[..., str]) -> None:
    for tag in ("gone", "moved"):
        exper(project, "run", tag)
    manager.commit(project)
    git("tag", "-d", "gone")
    git("tag", "-f", "moved")
    exper(project, "report", "gone", "moved")
    text = project.report_file("gone,moved").read_text()
    assert "git has no such tag any more" in text
    assert "the tag now points to" in text
    assert "The same code as gone." in text


def test_without_a_repository_there_is_still_a_report(trained: paths.Project) -> None:
    (trained.root / ".git").rename(trained.root / "git")
    exper(trained, "report", "base")
    assert "is in no git repository" in trained.report_file("base").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_it_works_in_both_shells(trained: paths.Project, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} IS NOT INSTALLED: report is not tested there")
    script = ". code/source.sh && exper report 'b*' -o 'a page.html'"
    done = subprocess.run([shell, "-c", script], cwd=trained.root, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("a page.html\n", "", 0)


@browser.needed
def test_the_table_sorts_by_mouse_and_by_keyboard_and_filters(read_only: paths.Project) -> None:
    with browser.opened(read_only.report_file("record"), viewport={"width": 1280, "height": 900}) as page:
        assert _column(page, "run") == ["fast/0", "base/0", "base/1", "wild/0"]
        assert _column(page, "optimizer.lr") == []
        head = page.locator("th[data-column='hparam/optimizer.lr']")
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert _column(page, "hparam/optimizer.lr") == ["0.1", "0.1", "0.9", "2.0"]
        assert _column(page, "metric/best/val/acc") == ["0.1535", "0.1535", "0.3935", ""]
        acc = page.locator("th[data-column='metric/best/val/acc']")
        acc.get_by_role("button").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Space")
        assert (acc.get_attribute("aria-sort"), head.get_attribute("aria-sort")) == ("descending", None)
        assert _column(page, "run") == ["fast/0", "base/0", "base/1", "wild/0"]
        page.get_by_label("All digits").check()
        assert _column(page, "metric/best/val/acc")[1] == "0.153456789"
        page.get_by_label("Filter").fill("FAILED 2.0")
        assert _column(page, "run") == ["wild/0"]
        assert "1 of 4 runs" in page.locator("#shown").inner_text()
        assert page.locator("#legend .name:visible").all_inner_texts() == ["wild/0"]
        page.get_by_label("Filter").fill("")
        assert not page.locator("th[data-column='hparam/optimizer.name']").is_visible()
        page.get_by_text("Columns").click()
        page.get_by_label("optimizer.name").check()
        assert _column(page, "hparam/optimizer.name") == ["sgd"] * 4
        browser.keep_picture(page, "report-columns")


@browser.needed
def test_curves_are_read_by_mouse_and_by_keyboard(read_only: paths.Project) -> None:
    with browser.opened(
        read_only.report_file("record"), viewport={"width": 1280, "height": 900}, color_scheme="light"
    ) as page:
        browser.keep_picture(page, "report-light")
        assert page.get_by_label("Metric").input_value() == "0"  # val/acc, which is monitored
        plot = page.locator(".u-over")
        plot.scroll_into_view_if_needed()
        size = plot.bounding_box()
        page.mouse.move(size["x"] + size["width"] / 2 + 5, size["y"] + 0.6 * size["height"])
        values = dict(
            zip(*(page.locator(f"#legend .{one}").all_inner_texts() for one in ("name", "value")), strict=True)
        )
        assert values == {"fast/0": "0.30346", "base/0": "0.14346", "base/1": "0.14346", "wild/0": "0.52346"}
        assert page.locator("#tip").inner_text().startswith("epoch 2")
        page.mouse.move(size["x"] + size["width"] / 2, size["y"] + 5)
        page.locator("#legend button", has_text="fast/0").click()
        assert page.locator("#legend button", has_text="fast/0").get_attribute("aria-pressed") == "false"
        page.get_by_label("Metric").select_option("val/loss")
        assert "fast/0 (nan at epoch 1)" in page.locator("#about-curves").inner_text()
        page.locator("#chart").focus()
        for key in ("ArrowRight", "ArrowRight", "End"):
            page.keyboard.press(key)
        assert page.locator("#spoken").inner_text() == "epoch 3: base/0 0.84654, base/1 0.84654, wild/0 nan"
        page.get_by_label("Log scale").check()
        browser.keep_picture(page, "report-curves")


@browser.needed
def test_the_page_can_be_read_in_the_dark_and_on_a_phone(read_only: paths.Project) -> None:
    path = read_only.report_file("record")
    for scheme in ("light", "dark"):
        with browser.opened(path, viewport={"width": 375, "height": 740}, color_scheme=scheme) as page:
            browser.keep_picture(page, f"report-phone-{scheme}")
            assert page.evaluate("document.documentElement.scrollWidth") == 375
            box = page.locator("#runs .scroll")
            box.evaluate("box => box.scrollLeft = 500")
            assert page.locator("#runs tbody th").first.bounding_box()["x"] < 20
            assert min(page.evaluate(_CONTRASTS)) >= 4.5
    with browser.opened(path, viewport={"width": 1280, "height": 900}, color_scheme="dark") as page:
        browser.keep_picture(page, "report-dark")


# The contrast of every element that has text with what is behind it, as WCAG computes it.
_CONTRASTS = """() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = one => {
        for (; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour.length === 3) return colour;
        }
        throw new Error("nothing is behind it");
    };
    const isText = node => node.nodeType === 3 && node.data.trim();
    const has = one => [...one.childNodes].some(isText) && one.checkVisibility();
    return [...document.body.querySelectorAll("*")].filter(has).map(one => {
        const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => b - a);
        return (a + 0.05) / (b + 0.05);
    });
}"""


@browser.needed
def test_without_javascript_the_table_is_there_and_the_controls_are_not(read_only: paths.Project) -> None:
    with browser.opened(read_only.report_file("record"), java_script_enabled=False) as page:
        assert page.locator("#runs tbody th").all_inner_texts() == ["fast/0", "base/0", "base/1", "wild/0"]
        assert page.get_by_text("The curves need JavaScript").is_visible()
        assert not page.get_by_label("Filter").is_visible()


@browser.needed
def test_hostile_text_does_nothing_anywhere(project: paths.Project, git: Callable[..., str]) -> None:
    write(project, main=f"""\
        import json, os, pathlib, sys
        run, text = pathlib.Path(os.environ["EXPER_RUN"]), {HOSTILE!r}
        hparam = {{text: text, "monitor": "max " + text, "seed": os.environ["EXPER_SEED"], "epochs": 1}}
        metric = {{"epoch": 1, text: 0.5, "val/" + text: text}}
        (run / "history.jsonl").write_text(json.dumps({{"epoch": 1, text: 1, "val/" + text: 2.0}}) + "\\n")
        about = {{"hparam": hparam, "device": {{"name": text}}, "metric": {{"best": metric, "last": metric}}}}
        (run / "statistic.json").write_text(json.dumps(about))
        print(text + "\\x1b]0;title\\x07\\x08" + "\\udcff")
        sys.exit(int(run.name))
        """)  # fmt: skip
    (project.code / f"{HOSTILE.replace('/', '')}.py").write_text(f"# {HOSTILE}\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", HOSTILE)
    exper(project, "run", "base", "-f", "-m", HOSTILE)
    exper(project, "rerun", "base", code=1)
    (project.code / f"{HOSTILE.replace('/', '')}.py").write_text(f"# other {HOSTILE}\n")
    exper(project, "run", "other", "-m", HOSTILE)
    manager.edit_record(project, "base/1", host=HOSTILE, command=[HOSTILE], versions={HOSTILE: HOSTILE})
    name = HOSTILE.replace("/", "")
    _list(project, name, f"base\nother\n{HOSTILE}\n")
    exper(project, "report", name, "-o", "hostile.html", code=1)
    path = project.root / "hostile.html"
    text = path.read_text()
    assert all(
        one.isprintable() for one in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL).replace("\n", "")
    )
    with browser.opened(path, viewport={"width": 375, "height": 740}) as page:
        page.locator("#runs thead button").first.click()
        page.get_by_text("Columns").click()
        page.get_by_role("button", name="All", exact=True).first.click()
        page.locator("#chart").focus()
        page.keyboard.press("End")
        page.evaluate("document.querySelectorAll('details').forEach(one => (one.open = true))")
        browser.keep_picture(page, "report-hostile")
        assert page.evaluate("window.hacked") is None
        assert page.locator("img, main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        assert "window.hacked" in page.locator("h1").inner_text()


@browser.needed
def test_the_policy_lets_no_script_of_others_run_and_reaches_for_nothing(study: paths.Project) -> None:
    path = study.report_file("record")
    wicked = "<script>window.hacked=1</script><img src='http://127.0.0.1:9/x'><b onclick='window.hacked=1'>b</b></main>"
    opened = path.with_name("opened.html")
    opened.write_text(path.read_text().replace("</main>", wicked))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.PROGRAM, args=["--no-sandbox"])
        page = chromium.new_page()
        asked: list[str] = []
        page.on("response", lambda response: asked.append(response.url))
        page.goto(opened.as_uri())
        page.get_by_text("b", exact=True).click()
        assert page.evaluate("window.hacked") is None
        assert asked == [opened.as_uri()]
        chromium.close()


def test_a_run_of_the_template_is_told_whole(tmp_path: Path) -> None:
    project = paths.Project(campaign.make_project(tmp_path / "project"))
    exper(project, "run", "digits", "epochs=2", "log_every_steps=20", "-f")
    exper(project, "report", "digits")
    text = project.report_file("digits").read_text()
    for told in ("1 run: 1 finished", "optimizer.weight_decay", "metric/test/test/acc", "step/loss", "cross_entropy"):
        assert told in text, told
