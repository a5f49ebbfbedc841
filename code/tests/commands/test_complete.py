"""Completion: the words that fit, and what both shells make of them at a terminal."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from exper.commands.complete import complete
from exper.core import paths

Git = Callable[..., str]


@pytest.fixture
def used(project: paths.Project, git: Git) -> paths.Project:
    """Return a project with runs, tags and lists."""
    for run in ("baseline/0", "baseline/1", "baseline/10", "big-batch/0", "trial+lr=0.1/0", "trial+lr=0.2/0"):
        (project.result / run).mkdir(parents=True)
    project.lists.mkdir(parents=True)
    for name in ("finished", "best of all", "it's"):
        project.list_file(name).touch()
    for tag in ("baseline", "fetched", "trial", "trial+lr=0.1", "trial+lr=0.3"):
        git("tag", tag)
    return project


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["exper", "ex"], "expels expls"),
        (["exper", "run", "f"], "fetched"),
        (["run", ""], "baseline fetched trial"),
        (["run", "new", ""], "epochs= optimizer.lr= optimizer.name="),
        (["run", "new", "opt"], "optimizer.lr= optimizer.name="),
        (["run", "-f", "new", "optimizer.lr=0.5", "optimizer."], "optimizer.name="),
        (["run", "-m", "why", ""], "baseline fetched trial"),
        (["run", "new", "-m", ""], ""),
        (["run", "new", "-"], ""),
        (["run", "new", "epochs="], "epochs="),
        (["continue", "b"], "baseline big-batch"),
        (["con", "baseline/"], "baseline/0 baseline/1 baseline/10"),
        (["continue", "baseline/1"], "baseline/1 baseline/10"),
        (["continue", "baseline", ""], ""),
        (["continue", "-f", "big"], "big-batch"),
        (["continue", "'big"], "big-batch"),
        (["continue", '"trial+lr=0.1/'], "trial+lr=0.1/0"),
        (["continue", "../"], ""),
        (["re", "f"], "fetched"),
        (["rerun", "b"], "baseline big-batch"),
        (["evaluate", "b"], "baseline big-batch"),
        (["evaluate", "baseline", ""], ""),
        (["evaluate", "--epoch", ""], ""),
        (["exper", "verify", "b"], "baseline big-batch"),
        (["exper", "verify", "baseline", ""], ""),
        (["exper", "verify", "--epochs", ""], ""),
        (["exper", "diff", "baseline/1", "f"], "fetched"),
        (["exper", "diff", "baseline/1", "baseline/1"], "baseline/1 baseline/10"),
        (["itb", "baseline/0", "big"], "big-batch"),
        (["itb", "b"], "baseline|best of all|big-batch"),
        (["exper", "board", ""], "stop"),
        (["itb", "baseline/0", "--", ""], ""),
        (["record", "big-batch/"], "big-batch/0"),
        (["record", "-l", ""], "best of all|finished|it's"),
        (["table", "f"], "finished"),
        (["title", "best\\ of"], "best of all"),
        (["title", "'best of"], "best of all"),
        (["exper", "report", "b"], "baseline|best of all|big-batch"),
        (["exper", "report", "big-batch/"], "big-batch/0"),
        (["exper", "report", "baseline", "-o", ""], ""),
        (["expls", ""], ""),
        (["continue", "t"], "trial+"),
        (["continue", "trial+"], "trial+lr=0.1 trial+lr=0.2"),
        (["rerun", "tr"], "trial trial+"),
        (["rerun", "trial+lr=0.3"], "trial+lr=0.3"),
        (["expels", "t"], "trial trial+"),
        (["exper", "rm", "t"], "trial trial+"),
        (["exper", "rm", "--dry-run", "f"], "fetched"),
        (["exper", "gc", "b"], "baseline|best of all|big-batch"),
        (["exper", "gc", "--keep", "b"], "best best,last"),
        (["exper", "gc", "--keep", "best", "big"], "big-batch"),
        (["exper", "new", "../"], ""),
        (["exper", "new", "../x", "--example", ""], "classification segmentation"),
        (["exper", "search", ""], "trial"),
        (["exper", "search", "trial", "-j", "2", "ep"], "epochs="),
        (["exper", "search", "-j", "2", "t"], "trial"),
        (["exper", "search", "-j", ""], ""),
        (["exper", "search", "trial", "--sampler", ""], "cmaes grid random tpe"),
        (["exper", "search", "trial", "--pruner", "h"], "halving hyperband"),
        (["exper", "results", ""], "trial"),
        (["exper", "results", "trial", "--storage", ""], ""),
        (["exper", "results", "trial", ""], ""),
        (["unheard-of", ""], ""),
        (["exper"], ""),
        ([], ""),
    ],
)
def test_the_words_that_fit(
    line: list[str], expected: str, used: paths.Project, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    words = expected.split("|") if "|" in expected or expected == "best of all" else expected.split()
    assert complete(line, used) == 0
    out, err = capfdbinary.readouterr()
    assert (out.decode().splitlines(), err) == (words, b"")


@pytest.mark.parametrize("content", [b"epochs = open('x')\n", b"epochs = (\n", b"\xff\n", None])
def test_a_broken_config_is_no_completion_and_no_message(
    content: bytes | None, used: paths.Project, capfd: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        (used.code / "config.py").unlink()
    else:
        (used.code / "config.py").write_bytes(content)
    assert complete(["run", "new", ""], used) == 0
    assert capfd.readouterr() == ("", "")


def test_no_repository_is_no_completion_and_no_message(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert complete(["run", ""], paths.Project(tmp_path)) == 0
    assert capfd.readouterr() == ("", "")


def test_diff_completes_config_files(
    used: paths.Project, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(used.root)
    complete(["exper", "diff", "baseline/0", "code/co"], used)
    assert capfd.readouterr().out == "code/config.py\n"


def test_names_with_control_characters_are_left_out(used: paths.Project, capfd: pytest.CaptureFixture[str]) -> None:
    (used.lists / "two\nlines.txt").touch()
    (used.lists / "two\x1b[31m.txt").touch()
    complete(["table", "two"], used)
    assert capfd.readouterr() == ("", "")


# -- at a terminal -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["bash", "zsh"])
def terminal(request: pytest.FixtureRequest, used: paths.Project, tmp_path: Path) -> "Iterator[pexpect.spawn[str]]":
    """Return an interactive shell that has sourced source.sh and shows its commands' words between < and >."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} IS NOT INSTALLED: completion there is not tested")
    home = tmp_path / "home"
    echo = """_exper_after() { printf '<%s>' "$@"; echo .; }; run() { _exper_after run "$@"; }
title() { _exper_after title "$@"; }; con() { _exper_after con "$@"; }\n"""
    start = f". {quote(used.code / 'source.sh')}\n{echo}PS1='READY> '\n"
    if request.param == "zsh":
        (home / ".zshrc").write_text(
            f"autoload -Uz compinit; compinit -u\nunsetopt zle_bracketed_paste 2>/dev/null\n{start}"
        )
        options = ["-d", "-i"]
    else:
        (home / ".bashrc").write_text(start)
        (home / ".inputrc").write_text("set enable-bracketed-paste off\nset bell-style none\n")
        options = ["--noprofile", "-i"]
    shell = pexpect.spawn(
        request.param, options, encoding="utf-8", cwd=str(used.root), timeout=20, dimensions=(40, 300)
    )
    shell.delaybeforesend = None
    shell.expect_exact("READY> ")
    yield shell
    shell.close(force=True)


def quote(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("run fet\t", "<run><fetched>."),
        ("run new optimizer.l\t0.5", "<run><new><optimizer.lr=0.5>."),
        ("run new optimizer.lr=0.5 ep\t9", "<run><new><optimizer.lr=0.5><epochs=9>."),
        ("con bi\t", "<con><big-batch>."),
        ("con big-batch/\t", "<con><big-batch/0>."),
        ("con tr\tlr=0.2/\t", "<con><trial+lr=0.2/0>."),
        ("con trial+lr=0.2/\t", "<con><trial+lr=0.2/0>."),
        ("con 'trial+lr=0.1/\t", "<con><trial+lr=0.1/0>."),
        ("title be\t", "<title><best of all>."),
        ("title best\\ o\t", "<title><best of all>."),
        ("title 'best\t", "<title><best of all>."),
        ("title it\t", "<title><it's>."),
        ("title nothing\t", "<title><nothing>."),
    ],
)
def test_tab(typed: str, expected: str, terminal: "pexpect.spawn[str]") -> None:
    terminal.send(typed + "\r")
    terminal.expect_exact(expected)
