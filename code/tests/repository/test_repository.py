"""Any state of a repository, any configuration: tagged rightly or refused, and nothing of the user's touched."""

import hashlib
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

LISTS = """
import os
for parent, folders, names in sorted(os.walk("code")):
    folders[:] = [name for name in folders if name != "exper"]
    for name in sorted(names):
        path = os.path.join(parent, name)
        print(ascii(path), ascii(open(path, "rb").read())[:40])
"""


def _tree(project: paths.Project, name: str) -> set[str]:
    """Return the project's files in a tag, without the manager's."""
    listing = subprocess.check_output(
        ["git", "ls-tree", "-r", "-z", "--name-only", "--full-tree", f"{name}:./"], cwd=project.root
    )
    return {path for path in os.fsdecode(listing).split("\0") if path and not path.startswith("code/exper/")}


def _content(project: paths.Project, name: str, path: str) -> bytes:
    return subprocess.run(
        ["git", "cat-file", "blob", f"{name}:./{path}"], cwd=project.root, check=True, capture_output=True
    ).stdout


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
    assert path not in _tree(project, "other")


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
    assert _content(project, "base", "outside.txt") == b"2\n"
    there = {path.removeprefix("code/") for path in _tree(project, "base")}
    assert {"deleted", "removed", "moved"} & there == set()
    assert {"added", "untracked", "executable", "dangling", "mo ved", "cached"} <= there
    assert _content(project, "base", "code/both") == b"both 3\n"
    modes = git(project.root, "ls-tree", "-r", "base").splitlines()
    assert [line.split()[0] for line in modes if line.endswith(("code/mode", "code/executable"))] == ["100755"] * 2
    assert _content(project, "base", "code/link") == b"unstaged"
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
    assert _content(project, "base", "outside.txt") == path.read_bytes()


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
    there = {path for path in _tree(project, "base") if path.startswith(("code/part", "code/other"))}
    assert there == {"code/part/new.py", "code/other"}


def test_a_staged_file_that_is_ignored_is_saved(project: paths.Project) -> None:
    (project.code / "forced.pyc").write_text("x")
    git(project.root, "add", "--force", "code/forced.pyc")
    with untouched(project.root):
        exper(project, "run", "base", "-m", "why")
    assert "code/forced.pyc" in _tree(project, "base")


@pytest.mark.parametrize("name", [".env", ".env.local", "server.pem", "my.key", "id_rsa", "sub/id_ed25519"])
def test_what_looks_like_a_secret_is_refused_unless_included(project: paths.Project, name: str) -> None:
    path = project.code / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("hunter2")
    with nothing_left(project):
        error = refused(project, "run", "base", "-m", "why")
    assert f"/code/{name} to .gitignore" in error
    exper(project, "run", "base", "-m", "why", "--include", f"code/{name}")
    assert f"code/{name}" in _tree(project, "base")


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


@pytest.fixture
def below(project: paths.Project, tmp_path: Path) -> paths.Project:
    """Return the project as a folder of a larger repository."""
    top = tmp_path / "tóp"
    top.mkdir()
    (project.root / ".git").rename(tmp_path / "gone")
    project.root.rename(top / "süb folder")
    (top / "outside.txt").write_text("1\n")
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=first")
    return paths.Project(top / "süb folder")


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
    assert _content(below, "dirty", "code/config.py") == b"epochs = 6  # changed\n"


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
    assert _tree(below, "base") >= {"code/new file", "beside.txt"}
    assert "code/config.py" not in _tree(below, "base")


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


# -- LFS ---------------------------------------------------------------------------------------------------------------

_LARGE = b"a large file\n" * 10


def _add_pointer(project: paths.Project, *, has_object: bool, top: Path | None = None) -> None:
    """Commit a pointer, with the attributes that make it one in the project or a folder above, and maybe its object."""
    oid = hashlib.sha256(_LARGE).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(_LARGE)}\n"
    ((top or project.root) / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (project.code / "large.bin").write_text(pointer)
    write(project, main="import sys; sys.stdout.write(open('code/large.bin').read()); sys.exit(1)")
    if has_object:
        git_folder = Path(git(project.root, "rev-parse", "--absolute-git-dir").strip())
        store = git_folder / "lfs" / "objects" / oid[:2] / oid[2:4]
        store.mkdir(parents=True)
        (store / oid).write_bytes(_LARGE)


def test_an_lfs_pointer_becomes_its_object_in_the_snapshot(project: paths.Project) -> None:
    _add_pointer(project, has_object=True)
    exper(project, "run", "base", code=1)
    assert log(project, "base/0") == ["a large file"] * 10
    exper(project, "continue", "base", code=1)


@pytest.mark.parametrize("depth", [0, 1])
def test_an_lfs_pointer_is_known_by_attributes_of_any_folder_above(below: paths.Project, depth: int) -> None:
    inner = paths.Project(below.root.parent / "deep er" / "inner")
    inner.root.parent.mkdir()
    git(below.root.parent, "mv", below.root.name, "deep er/inner")
    top = inner.root.parents[depth]
    _add_pointer(inner, has_object=True, top=top)
    exper(inner, "run", "base", code=1)
    assert log(inner, "base/0") == ["a large file"] * 10
    git(top, "rm", "--quiet", ".gitattributes")
    git(top, "commit", "--quiet", "--message=without")
    exper(inner, "continue", "base", code=1)
    assert log(inner, "base/0") == ["a large file"] * 20  # the tag's own


def test_an_lfs_pointer_without_its_object_is_refused_before_tagging(project: paths.Project) -> None:
    _add_pointer(project, has_object=False)
    with nothing_left(project):
        error = refused(project, "run", "base")
    assert "code/large.bin" in error
    assert "git lfs fetch" in error


# -- configurations and surroundings -----------------------------------------------------------------------------------

_CONFIGS = [
    {"commit.gpgSign": "true", "tag.gpgSign": "true", "tag.forceSignAnnotated": "true", "gpg.program": "false"},
    {"core.fsmonitor": "false-monitor"},
    {"core.quotePath": "true", "status.showUntrackedFiles": "no", "status.relativePaths": "true"},
    {"diff.external": "false", "diff.noprefix": "true", "diff.renames": "copies", "color.ui": "always"},
    {"core.splitIndex": "true"},
    {"index.version": "4", "core.untrackedCache": "true", "feature.manyFiles": "true"},
    {"user.useConfigOnly": "true"},
    {"core.autocrlf": "true", "core.safecrlf": "true"},
    {"core.autocrlf": "input", "core.safecrlf": "true"},
    {"core.logAllRefUpdates": "always"},
    {"alias.status": "!false", "alias.tag": "!false", "alias.add": "!false", "pager.status": "true"},
    {"i18n.commitEncoding": "latin1", "i18n.logOutputEncoding": "latin1"},
    {"core.fileMode": "false", "core.symlinks": "true", "core.ignoreCase": "true"},
    {"core.preloadIndex": "true", "core.checkStat": "minimal", "core.trustctime": "false"},
    {"core.editor": "false", "commit.template": "/nowhere", "commit.cleanup": "scissors", "core.commentChar": "E"},
    {"gc.auto": "1", "maintenance.auto": "true", "fetch.parallel": "0"},
    {"safe.bareRepository": "explicit", "core.protectNTFS": "true", "core.compression": "0", "core.fsync": "all"},
]  # fmt: skip


@pytest.mark.parametrize("scope", ["--global", "--local"])
@pytest.mark.parametrize("config", _CONFIGS, ids=lambda config: next(iter(config)))
def test_no_configuration_of_the_user_gets_in_the_way(
    project: paths.Project, config: dict[str, str], scope: str
) -> None:
    if scope == "--local" and next(iter(config)).startswith("alias"):
        pytest.skip("same as global")
    (project.code / "crlf.txt").write_bytes(b"one\r\ntwo\n")
    commit(project)
    for name, value in config.items():
        git(project.root, "config", scope, name, value)
    (project.code / "crlf.txt").write_bytes(b"one\r\ntwo\nthree\n")
    (project.code / "mixed.txt").write_bytes(b"one\r\ntwo\n")
    (project.code / "config.py").write_text("epochs = 4\n")
    git(project.root, "-c", "core.safecrlf=false", "add", "code/config.py")
    with untouched(project.root):
        exper(project, "run", "base", "-m", "wäre möglich", "epochs=5")
        exper(project, "rerun", "base", "-f")
    assert _content(project, "base", "code/config.py") == b"epochs = 5\n"
    assert {"code/mixed.txt", "code/crlf.txt"} <= _tree(project, "base")
    exper(project, "rm", "base", "--tag", "--yes")


def test_a_stash_that_the_user_has_git_tell_of_is_no_change(project: paths.Project) -> None:
    git(project.root, "config", "--global", "status.showStash", "true")
    (project.code / "config.py").write_text("epochs = 4\n")
    git(project.root, "stash")
    with untouched(project.root):
        exper(project, "run", "base")
    assert state(project, "base/0") == "finished"


def test_the_users_name_need_not_be_utf8(project: paths.Project) -> None:
    with open(os.environ["GIT_CONFIG_GLOBAL"], "ab") as file:
        file.write("[user]\nname = Jörg Müller\n".encode("latin-1"))
    (project.code / "config.py").write_text("epochs = 4\n")
    exper(project, "run", "base", "-m", "why")
    assert state(project, "base/0") == "finished"
    tagger = subprocess.check_output(["git", "cat-file", "tag", "base"], cwd=project.root)
    assert "tagger Jörg Müller <".encode("latin-1") in tagger


@pytest.mark.parametrize("name", ["line\u2028apart", "form\ffeed"])
def test_a_path_may_have_what_python_takes_for_a_line_end(project: paths.Project, tmp_path: Path, name: str) -> None:
    odd = paths.Project(project.root.rename(tmp_path / name))
    exper(odd, "run", "base")
    assert state(odd, "base/0") == "finished"


def test_a_path_with_a_line_break_is_refused_in_one_line(project: paths.Project, tmp_path: Path) -> None:
    odd = paths.Project(project.root.rename(tmp_path / "two\nlines"))
    assert "has a line break" in refused(odd, "run", "base")


def test_a_tag_may_have_the_name_of_a_folder_of_branches(project: paths.Project) -> None:
    git(project.root, "branch", "wide/try")
    exper(project, "run", "wide")
    assert "is a branch" in refused(project, "run", "main")


@pytest.mark.parametrize("name", ["code/config.py", "code/seed"])
@pytest.mark.parametrize("words", [[], ["epochs=4"]])
def test_a_link_in_place_of_what_we_read_is_refused(project: paths.Project, name: str, words: list[str]) -> None:
    path = project.root / name
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    commit(project)
    with nothing_left(project):
        assert f"{name} is a symbolic link" in refused(project, "run", "base", "-f", *words)


def test_hooks_that_fail_are_not_run(project: paths.Project, tmp_path: Path) -> None:
    for folder in (project.root / ".git" / "hooks", tmp_path / "hooks"):
        folder.mkdir(exist_ok=True)
        for name in ("pre-commit", "commit-msg", "reference-transaction", "post-index-change", "post-checkout"):
            (folder / name).write_text(f"#!/bin/sh\necho ran >>'{tmp_path}/ran'\nexit 1\n")
            (folder / name).chmod(0o755)
    (project.code / "new.py").write_text("")
    exper(project, "run", "base", "-m", "why")
    with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as file:
        file.write(f"[core]\nhooksPath = {tmp_path}/hooks\n")
    exper(project, "run", "other", "-m", "why")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_COMMON_DIR",
             "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_TRACE", "GIT_PAGER",
             "GIT_LITERAL_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_EXTERNAL_DIFF", "GIT_ATTR_SOURCE"]
)  # fmt: skip
def test_what_git_hands_to_a_hook_does_not_mislead(
    project: paths.Project, monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path
) -> None:
    (project.code / "new.py").write_text("")
    with untouched(project.root):
        exper(project, "run", "base", "-m", "why", env=os.environ | {name: str(tmp_path / "elsewhere")})
    assert "code/new.py" in _tree(project, "base")
    assert not (tmp_path / "elsewhere").exists()


@manager.can_mount
def test_a_project_on_a_disk_of_its_own_is_found_if_the_user_lets_git_look(
    below: paths.Project, tmp_path: Path
) -> None:
    shutil.copytree(below.root, tmp_path / "copy")
    script = 'mount -t tmpfs none "$0" && cp -a "$1/." "$0" && cd "$0" && shift && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, str(below.root), str(tmp_path / "copy")]
    words += manager.command(below, "run", "base")
    allowed = os.environ | {"GIT_DISCOVERY_ACROSS_FILESYSTEM": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=allowed)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wanted", [{"USER": "ann"}, {"LOGNAME": "bob"}, {}, {"USER": "."}])
def test_without_any_identity_it_works(project: paths.Project, wanted: dict[str, str]) -> None:
    gone = ("HOME", "USER", "LOGNAME", "GIT_CONFIG_GLOBAL")
    kept = {name: value for name, value in os.environ.items() if name not in gone}
    (project.code / "new.py").write_text("")
    exper(project, "run", "base", "-m", "why", env=kept | {"GIT_CONFIG_GLOBAL": "/dev/null"} | wanted)
    tagger = git(project.root, "for-each-ref", "--format=%(taggername)", "refs/tags/base").strip()
    assert tagger in ({"ann", "bob"} & set(wanted.values()) or {tagger})
    assert tagger


_needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@manager.needs_stranger
def test_a_user_without_passwd_entry_and_home_can_run(project: paths.Project) -> None:
    (project.code / "new.py").write_text("")
    done = manager.as_stranger(project, "run", "base", "-m", "why")
    assert done.returncode == 0, done.stderr
    assert git(project.root, "for-each-ref", "--format=%(taggername)", "refs/tags/base").strip() == "54321"


@manager.needs_stranger
@pytest.mark.parametrize("folder", ["__result__", ".git", "."])
def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(project: paths.Project, folder: str) -> None:
    if folder != ".":
        project.result.mkdir(exist_ok=True)
    everything = [project.root / folder, *(path for path in (project.root / folder).rglob("*") if path.is_dir())]
    for path in everything if folder == ".git" else everything[:1]:
        path.chmod(0o555)
    done = manager.as_stranger(project, "run", "base", "epochs=9")
    for path in everything:
        path.chmod(0o755)
    assert done.returncode == 2, done.stderr
    assert folder in done.stderr or "ermission" in done.stderr
    assert "Traceback" not in done.stderr
    assert (manager.tags(project), manager.left(project)) == ([], [])


@_needs_root
def test_a_repository_of_somebody_else_is_refused_with_what_to_type(project: paths.Project) -> None:
    for path in (project.root, project.root / ".git"):
        os.chown(path, 54321, 54321)
    error = refused(project, "run", "base")
    line = error.partition("type: ")[2].strip()
    subprocess.run(["bash", "-c", line], check=True)
    exper(project, "run", "base")


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
