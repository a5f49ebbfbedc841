"""Lists of experiments: appended once, the user's lines kept."""

import subprocess
import sys

import pytest

from exper import lists, paths


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b"base/0\n"), (b"a/1", b"a/1\nbase/0\n"), (b"# mine\r\na/1\r\n", b"# mine\r\na/1\r\nbase/0\n"),
     (b" base/0 \n", b" base/0 \n"), (b"base/01\n\xff\n", b"base/01\n\xff\nbase/0\n"), (b"base/0\r\n", b"base/0\r\n")],
)  # fmt: skip
def test_a_run_is_appended_once_and_all_else_stays(project: paths.Project, before: bytes, after: bytes) -> None:
    project.lists.mkdir(parents=True)
    project.list_file("mine").write_bytes(before)
    lists.append(project, "mine", "base/0")
    lists.append(project, "mine", "base/0")
    assert project.list_file("mine").read_bytes() == after


def test_a_run_is_taken_off_and_all_else_stays(project: paths.Project) -> None:
    project.lists.mkdir(parents=True)
    project.list_file("mine").write_bytes(b"# base/0\n\xff\nbase/0\r\nbase/00\nbase/0")
    lists.remove(project, "mine", {"base/0"})
    assert project.list_file("mine").read_bytes() == b"# base/0\n\xff\nbase/00\n"


def test_ten_processes_lose_no_line(project: paths.Project) -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom pathlib import Path\nfrom exper import lists, paths\n"
        "for number in range(20): lists.append(paths.Project(Path(sys.argv[2])), 'all', f'{sys.argv[3]}/{number}')\n"
    )
    words = [sys.executable, "-c", script, str(project.code), str(project.root)]
    all_ = [subprocess.Popen([*words, f"t{number}"]) for number in range(10)]
    assert [one.wait(60) for one in all_] == [0] * 10
    lines = project.list_file("all").read_text().splitlines()
    assert sorted(lines) == sorted(f"t{tag}/{number}" for tag in range(10) for number in range(20))
