"""Lists of experiments: appended once, the user's lines kept."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exper.core import paths
from exper.core.errors import Refused
from exper.runs import lists, select


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b"base/0\n"), (b"a/1", b"a/1\nbase/0\n"), (b"# mine\r\na/1\r\n", b"# mine\r\na/1\r\nbase/0\r\n"),
     (b"a/1\r\nb", b"a/1\r\nb\r\nbase/0\r\n"), (b"a/1\r", b"a/1\rbase/0\n"), (b"base/0 # best", b"base/0 # best"),
     (b"# base/0", b"# base/0\nbase/0\n"), (b"\xef\xbb\xbfbase/0\n", b"\xef\xbb\xbfbase/0\n"),
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
    project.list_file("mine").write_bytes(b"# base/0\n\xff\nbase/0\r\nbase/00\nbase/0/ # best\nbase/0")
    lists.remove(project, "mine", {"base/0"})
    assert project.list_file("mine").read_bytes() == b"# base/0\n\xff\nbase/00\n"


def test_ten_processes_lose_no_line(project: paths.Project) -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom pathlib import Path\n"
        "from exper.core import paths\nfrom exper.runs import lists\n"
        "for number in range(20): lists.append(paths.Project(Path(sys.argv[2])), 'all', f'{sys.argv[3]}/{number}')\n"
    )
    words = [sys.executable, "-c", script, str(project.code), str(project.root)]
    all_ = [subprocess.Popen([*words, f"t{number}"]) for number in range(10)]
    assert [one.wait(60) for one in all_] == [0] * 10
    lines = project.list_file("all").read_text().splitlines()
    assert sorted(lines) == sorted(f"t{tag}/{number}" for tag in range(10) for number in range(20))


# An editor has its text in memory and knows nothing of others: it saves one more line again and again, in place or by
# a rename, and looks whether what it saved last is still there.
EDITOR = """\
import os, sys, time
path, way = sys.argv[1:]
text = lines = ""
for number in range(300):
    before, text = text, text + f"mine/{number}\\n"
    if way == "in place":
        with open(path, "w") as file:
            file.write(text)
    else:
        with open(path + "~", "w") as file:
            file.write(text)
        os.replace(path + "~", path)
    time.sleep(0.002)
    with open(path) as file:
        lines = file.read().splitlines()
    lost = set(text.splitlines()) - set(lines)
    assert not lost, lost
"""


@pytest.mark.parametrize("way", ["in place", "rename"])
def test_what_an_editor_saves_meanwhile_is_never_undone(project: paths.Project, way: str) -> None:
    project.lists.mkdir(parents=True)
    path = project.list_file("mine")
    path.touch()
    with subprocess.Popen([sys.executable, "-c", EDITOR, str(path), way], stderr=subprocess.PIPE, text=True) as editor:
        number = 0
        while editor.poll() is None:
            number += 1
            lists.append(project, "mine", f"ours/{number}")
        assert editor.stderr
        assert (editor.returncode, editor.stderr.read()) == (0, "")
    assert number > 20
    lists.append(project, "mine", "ours/0")
    lines = path.read_text().splitlines()
    assert [line for line in lines if line.startswith("mine/")] == [f"mine/{number}" for number in range(300)]
    assert "ours/0" in lines


ENTRIES = st.lists(
    st.one_of(
        st.sampled_from(
            ["base", "base/0", "base/7", "b*", "*/*", "[", "# x", "base/0 # x", "", "  ", "../x", "/", "\ufeff"]
        ),
        st.text(max_size=8),
    )
)


@settings(deadline=None)
@given(ENTRIES, st.sampled_from(["\n", "\r\n", "\r"]), st.binary(max_size=4))
def test_any_list_is_read_and_keeps_every_line(
    tmp_path_factory: pytest.TempPathFactory, entries: list[str], newline: str, tail: bytes
) -> None:
    project = paths.Project(tmp_path_factory.mktemp("project"))
    (project.tag("base").run(0).folder).mkdir(parents=True)
    project.lists.mkdir(parents=True)
    path = project.list_file("mine")
    text = newline.join(entries)
    before = text.encode(errors="replace") + tail
    path.write_bytes(before)
    lists.append(project, "mine", "new/0")
    after = path.read_bytes()
    assert after.startswith(before)
    assert lists.append(project, "mine", "new/0") == []
    if b"\0" in before:
        with pytest.raises(Refused, match="UTF-8"):
            select.in_list(project, path)
        return
    runs, unknown = select.in_list(project, path)
    assert {str(run) for run in runs} <= {"base/0"}
    assert "new/0" in unknown
