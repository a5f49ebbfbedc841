"""Jobs: the flags of sbatch, and the script that SLURM runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exper.core import host_info, paths
from exper.runs import jobs


@pytest.mark.parametrize(
    ("words", "arguments", "flags"),
    [(["base"], ["base"], []), (["base", "--", "-c", "2"], ["base"], ["-c", "2"]), (["--", "--"], [], ["--"]),
     ([], [], [])],
)  # fmt: skip
def test_what_follows_two_dashes_are_flags(words: list[str], arguments: list[str], flags: list[str]) -> None:
    assert jobs.split_flags(words) == (arguments, flags)


@pytest.mark.parametrize(
    ("flags", "threads"),
    [([], 1), (["-c", "4"], 4), (["-c4"], 4), (["--cpus-per-task=4"], 4), (["--cpus-per-task", "4"], 4), (["-c"], 1),
     (["-c", "2", "-c", "3"], 3), (["-c", "many"], 1), (["-c", "0"], 1), (["-c", "99999999"], host_info.MAX_THREADS),
     (["--comment", "-c"], 1)],
)  # fmt: skip
def test_threads_are_the_cores_that_the_flags_ask_for(flags: list[str], threads: int) -> None:
    assert jobs.threads_from_flags(flags) == threads


def test_the_script_is_a_shell_script_that_becomes_the_command(tmp_path: Path) -> None:
    project = paths.Project(tmp_path / "it's a próject")
    manager = project.code / "exper"
    manager.mkdir(parents=True)
    (manager / "__main__.py").write_text("import os, sys\nopen('said', 'w').write(repr((sys.argv[1:], os.getpid())))\n")
    jobs.write_script(tmp_path / "job", project, ["continue", "a b/0"])
    process = subprocess.Popen([str(tmp_path / "job")], cwd=tmp_path)
    assert process.wait(60) == 0
    assert (tmp_path / "said").read_text() == repr((["continue", "a b/0"], process.pid))
    assert sys.executable in (tmp_path / "job").read_text()
    assert os.access(tmp_path / "job", os.X_OK)


def test_the_jobs_of_a_search_are_read_back_and_none_is_no_job(tmp_path: Path) -> None:
    tag = paths.Project(tmp_path).tag("wide")
    assert jobs.of_search(tag) == []
    tag.folder.mkdir(parents=True)
    tag.jobs.write_text("7 here\n8 a cluster\n")
    assert jobs.of_search(tag) == [{"id": "7", "cluster": "here"}, {"id": "8", "cluster": "a cluster"}]
