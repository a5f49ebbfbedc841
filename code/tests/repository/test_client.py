"""No configuration, hook, identity or place of a repository misleads git."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import commit, exper, git, nothing_left, refused, state, untouched
from tests.support.tagged import content_of, files_of

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
    assert content_of(project, "base", "code/config.py") == b"epochs = 5\n"
    assert {"code/mixed.txt", "code/crlf.txt"} <= files_of(project, "base")
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
    assert "code/new.py" in files_of(project, "base")
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
