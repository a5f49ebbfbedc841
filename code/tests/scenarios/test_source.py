"""source.sh in bash and zsh, in scripts and at a terminal."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from exper import commands
from exper.core import paths
from tests.support import manager

CASES = Path(__file__).parents[1] / "support" / "source_cases.sh"
PROBE = """\
import os, sys
if "PROBE_SHOW" in os.environ:
    print(os.environ.get(os.environ["PROBE_SHOW"], ""))
else:
    print("".join(f"<{word}>" for word in sys.argv[1:]))
sys.exit(int(os.environ.get("PROBE_EXIT", "0")))
"""
COMMANDS = {"exper", *commands.IN_SHELL}


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not shutil.which(name):
        pytest.skip(f"{name} IS NOT INSTALLED: what source.sh does there is not tested")
    return name


@pytest.fixture
def probe(project: paths.Project) -> paths.Project:
    """Return a project whose commands print the words that they got."""
    (project.code / "exper" / "__main__.py").write_text(PROBE)
    return project


def run_script(shell: str, text: str, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    options = ["--norc"] if shell == "bash" else ["-f"]
    return subprocess.run([shell, *options, "-c", text, shell, *words], capture_output=True, text=True, cwd=cwd)


def at_terminal(shell: str, *, cwd: Path) -> "pexpect.spawn[str]":
    """Start an interactive shell without the user's files, with a prompt that is easy to wait for."""
    options = ["--noprofile", "--norc", "-i"] if shell == "bash" else ["-f", "-i"]
    os.environ["PS1"] = "READY> "
    terminal = pexpect.spawn(shell, options, encoding="utf-8", cwd=str(cwd), timeout=20, dimensions=(40, 200))
    terminal.delaybeforesend = None
    terminal.expect_exact("READY> ")
    return terminal


def type_in(terminal: "pexpect.spawn[str]", line: str) -> str:
    """Type a line; return what the terminal shows until the next prompt."""
    terminal.sendline(line)
    terminal.expect_exact("READY> ")
    return terminal.before or ""


# -- the words and the loops -------------------------------------------------------------------------------------------


def test_loops_and_words_in_a_script(shell: str, probe: paths.Project, tmp_path: Path) -> None:
    verdict = tmp_path / "verdict"
    result = subprocess.run([shell, CASES, probe.code / "source.sh", verdict], capture_output=True, text=True)
    assert result.stderr == ""
    assert verdict.read_text() == "all cases pass"


def test_the_names_of_the_shell_are_those_of_the_table(shell: str, probe: paths.Project) -> None:
    listed = {
        "source.sh": "unalias ",
        "exper/shell.bash": "complete -F _exper_complete ",
        "exper/shell.zsh": "compdef _exper_complete ",
    }
    for file, start in listed.items():
        lines = [line.strip() for line in (probe.code / file).read_text().splitlines()]
        words = next(line for line in lines if line.startswith(start)).removeprefix(start)
        assert set(words.partition(" 2>")[0].split()) == COMMANDS, file
    text = '. "$1"; shift; for name in "$@"; do "$name" x; done'
    shown = run_script(shell, text, str(probe.code / "source.sh"), *commands.IN_SHELL).stdout
    assert shown.splitlines() == [f"<{commands.SHORT_NAMES.get(name, name)}><x>" for name in commands.IN_SHELL]


ODD_OPTIONS = {
    "bash": ["-O nullglob", "-O failglob", "-O expand_aliases", "-o noglob"],
    "zsh": [
        "-o ksh_arrays",
        "-o sh_word_split",
        "-o sh_glob",
        "-o warn_create_global",
        "--emulate sh",
        "--emulate ksh",
    ],
}


def test_loops_and_words_under_odd_options(shell: str, probe: paths.Project, tmp_path: Path) -> None:
    for options in ODD_OPTIONS[shell]:
        verdict = tmp_path / options
        words: list[str | Path] = [shell, *options.split(), CASES, probe.code / "source.sh", verdict]
        if shell == "zsh":
            words[3:3] = ["-f"]
        result = subprocess.run(words, capture_output=True, text=True)
        assert (result.stderr, verdict.read_text()) == ("", "all cases pass"), options


def test_loops_and_words_at_a_terminal(shell: str, probe: paths.Project, tmp_path: Path) -> None:
    verdict = tmp_path / "verdict"
    terminal = at_terminal(shell, cwd=tmp_path)
    shown = type_in(terminal, f'. "{CASES}" "{probe.code}/source.sh" "{verdict}"')
    assert verdict.read_text() == "all cases pass", shown


def test_continue_at_a_terminal_keeps_the_level_of_bash(probe: paths.Project) -> None:
    terminal = at_terminal("bash", cwd=probe.root)
    type_in(terminal, "BASH_COMPAT=5.1; . code/source.sh")
    assert "<continue><x>" in type_in(terminal, "for i in 1; do continue x; done")
    assert "13." in type_in(terminal, "for i in 1 2 3; do [ $i = 2 ] && continue; printf $i; done; echo .")
    assert "compat43       \toff" in type_in(terminal, "shopt compat43")
    assert "[5.1]" in type_in(terminal, 'echo "[$BASH_COMPAT]"')


def test_loops_stay_right_in_functions_that_are_older_than_source_sh(shell: str, probe: paths.Project) -> None:
    terminal = at_terminal(shell, cwd=probe.root)
    type_in(terminal, "old() { for i in 1 2 3; do [ $i = 2 ] && continue; printf $i; done; echo .; }")
    type_in(terminal, ". code/source.sh")
    assert "13." in type_in(terminal, "old")


def test_zsh_with_local_loops_keeps_its_own_continue(probe: paths.Project) -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh IS NOT INSTALLED")
    loop = "for i in 1 2 3; do [[ $i == 2 ]] && continue; print -n $i; done"
    result = run_script("zsh", f'setopt local_loops; . "$1"; {loop}; con x', str(probe.code / "source.sh"))
    assert (result.stdout, result.stderr) == ("13<continue><x>\n", "")


def test_bash_in_posix_mode_keeps_its_own_continue(probe: paths.Project) -> None:
    text = '. "$1"; for i in 1 2 3; do [[ $i == 2 ]] && continue; printf $i; done; con x'
    result = subprocess.run(
        ["bash", "--posix", "-c", text, "bash", probe.code / "source.sh"], capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("13<continue><x>\n", "")


# -- what sourcing leaves behind ---------------------------------------------------------------------------------------

STATE = {
    "bash": r"""
        state() {
            shopt; shopt -o; alias; trap; umask; pwd; ulimit -a
            compgen -v | sed 's/^/variable /'
            compgen -e | sed 's/^/exported /'
            compgen -A function | sed 's/^/function /'
        }
    """,
    "zsh": r"""
        state() {
            setopt; alias; trap; umask; pwd; ulimit -a
            for name in ${(k)parameters}; do print "variable $name"; done
            for name in ${(k)functions}; do print "function $name"; done
            export | sed 's/=.*//; s/^/exported /'
        }
        name=
    """,
}


@pytest.mark.parametrize("is_interactive", [False, True])
def test_sourcing_leaves_the_functions_and_one_variable(
    shell: str, is_interactive: bool, probe: paths.Project, tmp_path: Path
) -> None:
    if is_interactive:
        script = tmp_path / "state.sh"
        script.write_text(STATE[shell])
        terminal = at_terminal(shell, cwd=tmp_path)
        type_in(terminal, f'. "{script}"')
        type_in(terminal, "state > before 2>&1")
        type_in(terminal, f'. "{probe.code}/source.sh"')
        type_in(terminal, "state > after 2>&1")
    else:
        text = STATE[shell] + 'state > before 2>&1; . "$1"; state > after 2>&1'
        assert run_script(shell, text, f"{probe.code}/source.sh", cwd=tmp_path).returncode == 0
    before = set((tmp_path / "before").read_text().splitlines())
    after = set((tmp_path / "after").read_text().splitlines())
    functions = {line for line in after - before if line.startswith("function ")}
    own = {f"function {name}" for name in COMMANDS}
    assert {line for line in functions - own if not line.startswith("function _exper")} == set()
    others = {line for line in after - before if line not in functions}
    assert others == {"variable _exper_code", *CHANGES.get((shell, is_interactive), set())}
    assert before - after == REPLACED.get((shell, is_interactive), set())


CHANGES = {
    ("bash", False): {"compat43       \ton", "variable BASH_COMPAT"},
    ("bash", True): {"alias continue='BASH_COMPAT=4.3 _exper_continue'"},
}
REPLACED = {("bash", False): {"compat43       \toff"}}


def test_sourcing_prints_nothing_and_keeps_arguments_and_folder(shell: str, probe: paths.Project) -> None:
    text = 'set -euo pipefail; . "$1"; . "$1"; printf "%s." "$@" "$PWD"'
    result = run_script(shell, text, "code/source.sh", "two words", cwd=probe.root)
    assert result.stdout == f"code/source.sh.two words.{probe.root}."
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("folder", "name"),
    [("", "code/source.sh"), ("", "./code/source.sh"), ("code", "source.sh"), ("code/exper", "../source.sh")],
)
def test_sourcing_from_any_folder_and_then_working_in_another(
    shell: str, folder: str, name: str, probe: paths.Project
) -> None:
    result = run_script(shell, 'source "$1"; cd /; run x', name, cwd=probe.root / folder)
    assert (result.stdout, result.stderr) == ("<run><x>\n", "")


def test_sourcing_a_link_to_the_file_works(shell: str, probe: paths.Project, tmp_path: Path) -> None:
    (tmp_path / "a link.sh").symlink_to("other.sh")
    (tmp_path / "other.sh").symlink_to(probe.code / "source.sh")
    result = run_script(shell, '. "$1"; cd /; run x', "./a link.sh", cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("<run><x>\n", "")


def test_sourcing_in_a_function_works(shell: str, probe: paths.Project) -> None:
    text = 'f() { . "$1"; }; f "$1"; run x'
    if shell == "zsh":
        text = "setopt warn_create_global; " + text
    result = run_script(shell, text, str(probe.code / "source.sh"))
    assert (result.stdout, result.stderr) == ("<run><x>\n", "")


def test_sourcing_a_second_project_takes_its_commands(shell: str, probe: paths.Project, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(probe.root, other)
    (other / "code" / "exper" / "__main__.py").write_text("print('other')")
    result = run_script(shell, '. "$1"; . "$2"; run x', str(probe.code / "source.sh"), str(other / "code/source.sh"))
    assert (result.stdout, result.stderr) == ("other\n", "")


def test_an_alias_of_the_user_does_not_break_sourcing(shell: str, probe: paths.Project) -> None:
    terminal = at_terminal(shell, cwd=probe.root)
    type_in(terminal, "alias run='echo alias' title='echo alias' continue='echo alias'")
    type_in(terminal, ". code/source.sh")
    assert "<run><x>" in type_in(terminal, "run x")
    assert "<continue><x>" in type_in(terminal, "continue x")


@pytest.mark.parametrize("other", ["dash", "sh"])
def test_another_shell_is_told_what_to_type(other: str, probe: paths.Project) -> None:
    if not shutil.which(other) or "BASH" in subprocess.getoutput(f"{other} -c 'echo ${{BASH_VERSION:+BASH}}'"):
        pytest.skip(f"{other} is bash, or not installed")
    result = subprocess.run([other, "-c", ". code/source.sh"], cwd=probe.root, capture_output=True, text=True)
    assert result.stdout == ""
    assert result.stderr == "source.sh: it needs zsh, or bash 4.4 or newer. Type 'bash' or 'zsh' and source it there.\n"


# -- which Python ------------------------------------------------------------------------------------------------------


def make_python(folder: Path, name: str) -> None:
    """Make a `python` that says its name and its first word."""
    program = folder / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "{name} $1"\n')
    program.chmod(0o755)


def test_the_active_environment_then_our_own_then_python3(
    shell: str, probe: paths.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(probe.code / "source.sh")
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        make_python(tmp_path / name, name)
        monkeypatch.setenv(name, str(tmp_path / name))
    make_python(probe.root / ".venv", "own")
    (probe.root / ".venv" / "exper-complete").touch()
    make_python(tmp_path / "system", "system")
    (tmp_path / "system/bin/python").rename(tmp_path / "system/bin/python3")
    monkeypatch.setenv("PATH", f"{tmp_path}/system/bin", prepend=os.pathsep)
    assert run_script(shell, '. "$1"; run', source).stdout == "VIRTUAL_ENV -I\n"
    monkeypatch.setenv("VIRTUAL_ENV", "/gone")
    assert run_script(shell, '. "$1"; run', source).stdout == "CONDA_PREFIX -I\n"
    monkeypatch.delenv("CONDA_PREFIX")
    assert run_script(shell, '. "$1"; run', source).stdout == "own -I\n"
    (probe.root / ".venv" / "exper-complete").unlink()
    assert run_script(shell, '. "$1"; run', source).stdout == "system -I\n"


@manager.can_mount
@pytest.mark.parametrize("active", ["CONDA_PREFIX", "own"])
def test_a_python_of_the_system_in_bin_is_not_taken_for_the_active_environment(
    shell: str, active: str, probe: paths.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV")
    make_python(tmp_path / "system", "system")
    make_python(probe.root / ".venv" if active == "own" else tmp_path / active, active)
    if active == "own":
        (probe.root / ".venv" / "exper-complete").touch()
        monkeypatch.setenv("CONDA_PREFIX", "")
    else:
        monkeypatch.setenv(active, str(tmp_path / active))
    beneath = ["unshare", "--mount", "sh", "-c", 'mount -t overlay -o lowerdir="$0":/bin none /bin && exec "$@"']
    words = [shell, "-c", 'set -u; . "$1"; run', shell, f"{probe.code}/source.sh"]
    result = subprocess.run([*beneath, f"{tmp_path}/system/bin", *words], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == (f"{active} -I\n", "")


def test_no_python_says_what_to_install(
    shell: str, probe: paths.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV")
    program = shutil.which(shell)
    assert program
    monkeypatch.setenv("PATH", str(tmp_path))
    result = subprocess.run(
        [program, "-c", '. "$1"; run x', shell, probe.code / "source.sh"], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr == (
        "exper: there is no python3 on PATH. On Debian or Ubuntu type: apt install python3 python3-venv\n"
    )


def test_files_and_variables_of_the_user_do_not_become_ours(shell: str, probe: paths.Project, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    (probe.code / "exper" / "__main__.py").write_text("import json; print('ours')")
    for name in ("json.py", "queue.py"):
        (probe.code / name).write_text("raise SystemExit('shadowed')")
    text = 'export PYTHONPATH="$PWD" PYTHONHOME=/nowhere PYTHONSTARTUP=json.py; . "$1"; run x'
    result = run_script(shell, text, str(probe.code / "source.sh"), cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("ours\n", "")


# -- Oh My Zsh ---------------------------------------------------------------------------------------------------------

OH_MY_ZSH = """\
title() { print -r -- "terminal title: $*"; }
omz_termsupport_precmd() { title idle }
omz_termsupport_preexec() { title "busy $1" }
precmd_functions+=(omz_termsupport_precmd)
preexec_functions+=(omz_termsupport_preexec)
"""


def test_the_title_of_oh_my_zsh_still_gets_its_calls(probe: paths.Project, tmp_path: Path) -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh IS NOT INSTALLED")
    (tmp_path / "omz.zsh").write_text(OH_MY_ZSH)
    terminal = at_terminal("zsh", cwd=probe.root)
    type_in(terminal, f'. "{tmp_path}/omz.zsh"')
    type_in(terminal, ". code/source.sh")
    shown = type_in(terminal, ". code/source.sh")  # twice: our own title is not taken for theirs
    assert "terminal title: busy" in shown
    assert "terminal title: idle" in shown
    assert "<title>" not in shown
    assert "<title><mine>" in type_in(terminal, "title mine")


def test_the_probe_is_started_in_isolated_mode(probe: paths.Project) -> None:
    (probe.code / "exper" / "__main__.py").write_text(
        "import sys, json; print(json.dumps([sys.flags.isolated, sys.prefix]))"
    )
    result = run_script("bash", '. "$1"; run', str(probe.code / "source.sh"))
    assert json.loads(result.stdout) == [1, sys.prefix]
