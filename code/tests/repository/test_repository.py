"""Any state of a repository, any configuration: tagged rightly or refused, and nothing of the user's touched."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from exper.core import paths
from exper.core.errors import Refused
from exper.repository.repository import Repository
from tests.support import manager
from tests.support.manager import commit, exper, git, log, nothing_left, refused, state, untouched, write
from tests.support.tagged import content_of, files_of

LISTS = """
import os
for parent, folders, names in sorted(os.walk("code")):
    folders[:] = [name for name in folders if name != "exper"]
    for name in sorted(names):
        path = os.path.join(parent, name)
        print(ascii(path), ascii(open(path, "rb").read())[:40])
"""


# -- uncommitted changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    ["code/main.py", "code/new.py", "code/sub/new.py", "README.md", "code/deleted"],
)
def test_uncommitted_changes_are_refused_with_the_list(project: paths.Project, change: str) -> None:
    (project.root / "README.md").write_text("tracked\n")
    (project.code / "deleted").touch()
    commit(project)
    path = project.root / change
    path.parent.mkdir(exist_ok=True)
    if change.endswith("deleted"):
        path.unlink()
    else:
        path.write_text("changed")
    with nothing_left(project):
        error = refused(project, "run", "base")
    assert change in error
    assert "-m" in error


@pytest.mark.parametrize("path", ["notes.txt", "__data__/new", "__mine__/new", "code/ignored.pyc", "data/new"])
def test_what_is_no_change_of_the_code_does_not_matter(project: paths.Project, path: str) -> None:
    (project.root / path).parent.mkdir(exist_ok=True)
    (project.root / path).write_text("new")
    exper(project, "run", "base")
    exper(project, "run", "other", "-m", "why")
    assert path not in files_of(project, "other")


def test_a_tracked_file_under_data_is_not_the_codes(project: paths.Project) -> None:
    project.data.mkdir()
    (project.data / "README.md").write_text("tracked\n")
    git(project.root, "add", "--force", "__data__/README.md")
    commit(project)
    (project.data / "README.md").write_text("changed\n")
    exper(project, "run", "base")
    assert state(project, "base/0") == "finished"


def test_m_saves_every_kind_of_change_and_touches_none(project: paths.Project) -> None:
    code = project.code
    (project.root / "outside.txt").write_text("1\n")
    for name in ("staged", "unstaged", "both", "deleted", "removed", "moved", "mode", "cached"):
        (code / name).write_text(f"{name}\n")
    (code / "link").symlink_to("staged")
    commit(project)
    (code / "staged").write_text("staged 2\n")
    git(project.root, "add", "code/staged")
    (code / "unstaged").write_text("unstaged 2\n")
    (code / "both").write_text("both 2\n")
    git(project.root, "add", "code/both")
    (code / "both").write_text("both 3\n")
    (code / "deleted").unlink()
    git(project.root, "rm", "--quiet", "code/removed")
    git(project.root, "mv", "code/moved", "code/mo ved")
    (code / "mode").chmod(0o755)
    git(project.root, "rm", "--quiet", "--cached", "code/cached")
    (code / "link").unlink()
    (code / "link").symlink_to("unstaged")
    (code / "added").write_text("added\n")
    git(project.root, "add", "--intent-to-add", "code/added")
    (code / "untracked").write_text("untracked\n")
    (code / "executable").write_text("#!/bin/sh\n")
    (code / "executable").chmod(0o755)
    (code / "dangling").symlink_to("nowhere")
    (project.root / "outside.txt").write_text("2\n")
    with untouched(project.root):
        exper(project, "run", "base", "-m", "why")
    assert content_of(project, "base", "outside.txt") == b"2\n"
    there = {path.removeprefix("code/") for path in files_of(project, "base")}
    assert {"deleted", "removed", "moved"} & there == set()
    assert {"added", "untracked", "executable", "dangling", "mo ved", "cached"} <= there
    assert content_of(project, "base", "code/both") == b"both 3\n"
    modes = git(project.root, "ls-tree", "-r", "base").splitlines()
    assert [line.split()[0] for line in modes if line.endswith(("code/mode", "code/executable"))] == ["100755"] * 2
    assert content_of(project, "base", "code/link") == b"unstaged"
    assert git(project.root, "rev-parse", "base^") == git(project.root, "rev-parse", "HEAD")


def test_m_saves_a_change_in_the_second_of_the_last_commit(project: paths.Project) -> None:
    path = project.root / "outside.txt"
    for number in range(10):
        time.sleep(1 - time.time() % 1)
        second = int(time.time())
        path.write_text(f"{number}\n")
        commit(project)
        path.write_text(f"{number + 1}\n")  # as many bytes
        if int(time.time()) == second:
            break
    time.sleep(1.1)
    exper(project, "run", "base", "-m", "why")
    assert content_of(project, "base", "outside.txt") == path.read_bytes()


_NAMES = ["a b", "a\nb", "quote'\"", "tab\tname", "ünïcode", "-dash", ":(glob)*", "*", "[x]", "back\\slash", "\udcff",
          "\x1b[31m", "$(id)", "~", "#", "'"]  # fmt: skip


def test_m_saves_any_name_and_the_snapshot_has_it(project: paths.Project) -> None:
    write(project, main=LISTS)
    for number, name in enumerate(_NAMES):
        (project.code / name).write_text(str(number))
    (project.code / "*.keep").write_text("")
    with untouched(project.root):
        said = exper(project, "run", "base", "-m", "why").stderr
    assert "\x1b" not in said
    seen = log(project, "base/0")
    for number, name in enumerate(_NAMES):
        assert f"{'code/' + name!a} {str(number).encode()!a}" in seen


def test_a_file_that_became_a_folder_does_not_bring_what_is_ignored(project: paths.Project) -> None:
    (project.code / "part").write_text("")
    (project.code / "other").mkdir()
    (project.code / "other" / "file").write_text("")
    (project.root / ".gitignore").write_text("/__*__\n*.secret\n__pycache__\n")
    commit(project)
    (project.code / "part").unlink()
    (project.code / "part").mkdir()
    (project.code / "part" / "new.py").write_text("")
    (project.code / "part" / "key.secret").write_text("hunter2")
    shutil.rmtree(project.code / "other")
    (project.code / "other").symlink_to("part")
    with untouched(project.root):
        exper(project, "run", "base", "-m", "why")
    there = {path for path in files_of(project, "base") if path.startswith(("code/part", "code/other"))}
    assert there == {"code/part/new.py", "code/other"}


def test_a_staged_file_that_is_ignored_is_saved(project: paths.Project) -> None:
    (project.code / "forced.pyc").write_text("x")
    git(project.root, "add", "--force", "code/forced.pyc")
    with untouched(project.root):
        exper(project, "run", "base", "-m", "why")
    assert "code/forced.pyc" in files_of(project, "base")


@pytest.mark.parametrize("name", [".env", ".env.local", "server.pem", "my.key", "id_rsa", "sub/id_ed25519"])
def test_what_looks_like_a_secret_is_refused_unless_included(project: paths.Project, name: str) -> None:
    path = project.code / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("hunter2")
    with nothing_left(project):
        error = refused(project, "run", "base", "-m", "why")
    assert f"/code/{name} to .gitignore" in error
    exper(project, "run", "base", "-m", "why", "--include", f"code/{name}")
    assert f"code/{name}" in files_of(project, "base")


def test_a_name_cannot_move_the_cursor_in_a_refusal(project: paths.Project) -> None:
    (project.code / "\x1b[31mred.key").write_text("")
    assert "\x1b" not in refused(project, "run", "base", "-m", "why")


def test_a_large_file_is_refused_unless_included(project: paths.Project) -> None:
    with open(project.code / "large", "wb") as file:
        file.truncate(10_000_001)
    with nothing_left(project):
        assert "10 MB" in refused(project, "run", "base", "-m", "why")
    exper(project, "run", "base", "-m", "why", "--include", "code/large")


def test_untracked_files_are_listed_with_their_sizes(project: paths.Project) -> None:
    (project.code / "new.bin").write_bytes(bytes(123_456))
    assert "untracked code/new.bin (123 kB)" in exper(project, "run", "base", "-m", "why").stderr


def test_a_repository_within_code_is_refused(project: paths.Project) -> None:
    git(project.root, "init", "--quiet", "code/inner")
    (project.code / "inner" / "x").write_text("")
    git(project.code / "inner", "add", "x")
    git(project.code / "inner", "commit", "--quiet", "--message=x")
    with nothing_left(project):
        assert "code/inner" in refused(project, "run", "base", "-m", "why")


def test_a_merge_in_progress_is_refused_also_with_m(project: paths.Project) -> None:
    git(project.root, "checkout", "--quiet", "-b", "side")
    write(project, main="print('side')")
    git(project.root, "checkout", "--quiet", "main")
    write(project, main="print('main')")
    subprocess.run(["git", "merge", "side"], cwd=project.root, capture_output=True)
    with nothing_left(project):
        refused(project, "run", "base")
        assert "merge" in refused(project, "run", "base", "-m", "why")


# -- kinds of repositories ---------------------------------------------------------------------------------------------


def test_a_detached_head_works_and_stays(project: paths.Project) -> None:
    write(project, main="print('second')")
    git(project.root, "checkout", "--quiet", "--detach", "HEAD~")
    (project.code / "main.py").write_text("print('changed')\n")
    with untouched(project.root):
        exper(project, "run", "base", "-m", "why")
    assert log(project, "base/0") == ["changed"]


def test_a_shallow_clone_works(project: paths.Project, tmp_path: Path) -> None:
    write(project, main="print('second')")
    clone = paths.Project(tmp_path / "clone")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{project.root}", str(clone.root))
    with untouched(clone.root):
        exper(clone, "run", "base", "epochs=9")
    assert log(clone, "base/0") == ["second"]


def test_a_partial_clone_works_with_what_it_has_and_never_fetches(project: paths.Project, tmp_path: Path) -> None:
    git(project.root, "tag", "old")
    write(project, main="print('second')", config="epochs = 4\n")
    git(project.root, "config", "uploadpack.allowFilter", "true")
    clone = paths.Project(tmp_path / "clone")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{project.root}", str(clone.root))
    exper(clone, "run", "base")
    assert log(clone, "base/0") == ["second"]
    with nothing_left(clone):
        error = refused(clone, "rerun", "old")
    subprocess.run(["sh", "-c", error.partition("Bring it: ")[2]], cwd=clone.root, check=True)
    exper(clone, "rerun", "old")
    assert log(clone, "old/1") == ["hello"]


def test_a_linked_worktree_works_and_shares_the_tags(project: paths.Project, tmp_path: Path) -> None:
    git(project.root, "worktree", "add", "--quiet", str(tmp_path / "linked"), "-b", "side")
    linked = paths.Project(tmp_path / "linked")
    (linked.code / "main.py").write_text("print('linked')\n")
    git(linked.root, "add", "--all")
    with untouched(linked.root), untouched(project.root):
        exper(linked, "run", "base", "-m", "why")
    assert log(linked, "base/0") == ["linked"]
    assert manager.tags(project) == ["base"]


def test_a_sha256_repository_works(project: paths.Project) -> None:
    shutil.rmtree(project.root / ".git")
    git(project.root, "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    commit(project)
    exper(project, "run", "base", "epochs=4")
    exper(project, "rm", "base", "--tag", "--yes")
    exper(project, "run", "base")
    assert len(manager.record(project, "base/0")["commit"]) == 64


def test_dirt_outside_the_project_does_not_matter_and_is_not_saved(below: paths.Project) -> None:
    top = below.root.parent
    (top / "outside.txt").write_text("2\n")
    (top / "staged.txt").write_text("new\n")
    git(top, "add", "staged.txt")
    with untouched(top):
        exper(below, "run", "clean")
    (below.code / "config.py").write_text("epochs = 5  # changed\n")
    with untouched(top):
        exper(below, "run", "dirty", "-m", "why", "epochs=6")
    assert git(top, "show", "dirty:outside.txt") == "1\n"
    assert "staged.txt" not in git(top, "ls-tree", "-r", "--name-only", "dirty")
    assert content_of(below, "dirty", "code/config.py") == b"epochs = 6  # changed\n"


def test_changes_in_a_subfolder_are_listed_and_saved(below: paths.Project) -> None:
    write(below, main=LISTS)
    (below.code / "config.py").unlink()
    (below.code / "new file").write_text("x")
    (below.root / "beside.txt").write_text("x")
    git(below.root, "add", "beside.txt")
    error = refused(below, "run", "base")
    assert "deleted   code/config.py" in error
    assert "untracked code/new file" in error
    assert "added     beside.txt" in error
    with untouched(below.root.parent):
        exper(below, "run", "base", "-m", "why")
    assert files_of(below, "base") >= {"code/new file", "beside.txt"}
    assert "code/config.py" not in files_of(below, "base")


def test_a_repository_of_somebody_else_is_named_by_its_top(below: paths.Project) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    for path in (below.root.parent, below.root.parent / ".git", below.root):
        os.chown(path, 54321, 54321)
    line = refused(below, "run", "base").partition("type: ")[2].strip()
    subprocess.run(["bash", "-c", line], check=True)
    exper(below, "run", "base")


def test_only_the_project_is_copied(below: paths.Project) -> None:
    write(below, main="import os; print(sorted(os.listdir())); raise SystemExit(1)")
    exper(below, "run", "base", code=1)
    assert log(below, "base/0") == ["['.gitignore', '__data__', 'code']"]


def test_a_project_that_nothing_is_committed_of_is_refused_or_saved_whole(below: paths.Project) -> None:
    top = below.root.parent
    git(top, "rm", "-r", "--quiet", "--cached", below.root.name)
    git(top, "commit", "--quiet", "--message=without")
    with nothing_left(below):
        assert "untracked code/config.py" in refused(below, "run", "base")
    exper(below, "run", "base", "-m", "why")
    assert log(below, "base/0") == ["hello"]


def test_a_submodule_is_refused_before_tagging(project: paths.Project, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(project.root), "other")
    allowed = ("-c", "protocol.file.allow=always")
    git(project.root, *allowed, "submodule", "--quiet", "add", str(tmp_path / "other"), "code/mod")
    commit(project)
    with nothing_left(project):
        assert "code/mod is a submodule" in refused(project, "run", "base")


# -- what a report asks ------------------------------------------------------------------------------------------------


def test_commits_are_told_as_far_as_they_are_here(project: paths.Project) -> None:
    git(project.root, "commit", "--quiet", "--allow-empty", "--message=two\nlines\n\nand a body")
    here, tree = git(project.root, "rev-parse", "HEAD", "HEAD^{tree}").split()
    found = Repository(project.root).commits([here, tree, "0" * 40, "HEAD", "--all\n", here])
    assert [*found] == [here]
    assert found[here].subject == "two lines"
    assert abs(found[here].date - time.time()) < 3600


def test_the_difference_is_that_of_the_project_whatever_the_users_settings(project: paths.Project) -> None:
    for setting in ("diff.external=false", "color.ui=always", "diff.noprefix=true", "diff.renames=false"):
        git(project.root, "config", *setting.split("="))
    (project.root / ".gitattributes").write_text("*.py diff=odd\n")
    git(project.root, "config", "diff.odd.textconv", "false")
    old = git(project.root, "rev-parse", "HEAD").strip()
    write(project, main="print('héllo')")
    (project.root / "large").write_bytes(b"x\n" * 200_000)
    commit(project)
    told = Repository(project.root).difference(old, git(project.root, "rev-parse", "HEAD").strip())
    assert "3 files changed" in told
    assert "+++ b/code/main.py\n@@ -1 +1 @@\n-print('hello')\n+print('héllo')" in told
    assert "Binary files /dev/null and b/large differ" in told
    assert Repository(project.root).difference(old, old) == ""


def test_a_file_is_absent_only_where_its_commit_says_so(project: paths.Project) -> None:
    repository = Repository(project.root)
    assert repository.file(repository.head(), "code/absent.py") is None
    with pytest.raises(Refused, match="git ls-tree: fatal"):
        repository.file("0" * 40, "code/config.py")
    with pytest.raises(Refused, match="git ls-tree: fatal"):
        repository.files("0" * 40)
