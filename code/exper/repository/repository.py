"""A project's repository: each method answers one question about it, or makes one object in it.

Nothing here writes to the working tree, the index, HEAD, a branch or the stash. Commits are made through an index of
our own, outside .git, and held by a tag alone.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from exper.core.errors import Refused
from exper.repository import client, lfs, objects
from exper.repository.client import GitFailed
from exper.repository.objects import Change, Commit, Entry, TagObject, is_ours

_HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_ATTRIBUTES = ".gitattributes"
_MANY_TAGS = 50  # from which on packing their objects pays
_MOST_REMEMBERED = 1 << 26  # bytes
Edits = Mapping[str, Callable[[bytes], bytes]]  # by path: from old content to new


class TagTaken(Exception):
    """Somebody else made or moved the tag first."""


class Repository:
    """The git repository that holds a project.

    Raises:
        Refused: git is missing, or there is no usable repository at `root`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            answer = self._git("rev-parse", "--show-toplevel", "--git-common-dir", "--git-path", "index")
        except GitFailed as error:
            raise _no_repository(root, str(error)) from None
        except FileNotFoundError:
            raise Refused("git is not installed. Install it, with `apt install git` for example.") from None
        if answer.count(b"\n") != 3:
            raise Refused(f"the path of {root} has a line break, with which git's answers can't be read. Rename it.")
        top, common, index = client.split_lines(answer)
        self.top = Path(top)
        self._common = root / common
        self._index = root / index
        self._prefix = os.path.relpath(root.resolve(), self.top.resolve())
        self._prefix = "" if self._prefix == "." else self._prefix + "/"
        self._listed: dict[str, list[Entry]] = {}  # by commit
        self._attributes: set[Entry] = set()  # each .gitattributes of a listed commit, also of the folders above
        self._remembered: dict[str, bytes] = {}  # by blob

    # -- questions -----------------------------------------------------------------------------------------------------

    def head(self) -> str:
        """Return the commit that is checked out."""
        commit = self._commit_of("HEAD")
        if commit is None:
            raise Refused("nothing is committed yet. Type: git add -A && git commit -m first")
        return commit

    def changes(self) -> list[Change]:
        """Return the uncommitted changes: tracked files of the project that differ, and untracked files under code/."""
        status = self._git("status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=no", "--", ".")
        tracked = map(objects.change, client.split_zero(status))
        changes = [Change(change.path.removeprefix(self._prefix), change.kind) for change in tracked]
        untracked = self._git("ls-files", "-z", "--others", "--exclude-standard", "--", "code")
        changes += [Change(path, "untracked") for path in client.split_zero(untracked)]
        return [change for change in changes if not is_ours(change.path)]

    def tags(self) -> list[str]:
        """Return the names of all tags."""
        return client.split_lines(self._git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags"))

    def tag(self, name: str) -> TagObject | None:
        """Return the tag `name`, or None."""
        tag = self._ask("rev-parse", "--verify", "--quiet", f"refs/tags/{name}")
        if not tag:
            return None
        commit = self._commit_of(f"refs/tags/{name}")
        if not commit:
            raise Refused(f"the tag {name!r} is of no commit, so it holds no code. If it may go: git tag -d {name}")
        content = self._git("cat-file", "tag", tag).decode(errors="replace") if tag != commit else ""
        return TagObject(name, tag, commit, content.partition("\n\n")[2])

    def tags_of_commits(self) -> dict[str, TagObject]:
        """Return the tags of commits by name, without their messages: one call of git, however many there are."""
        answer = self._git("for-each-ref", f"--format={objects.TAG_FORMAT}", "refs/tags")
        return {tag.name: tag for tag in objects.tags_of_commits(answer)}

    def commit_and_tree(self, tag: str) -> list[str]:
        """Return the commit of a tag and the project's tree in it; an empty list if there are none."""
        name = f"refs/tags/{tag}"
        return (self._ask("rev-parse", "--quiet", f"{name}^{{commit}}", f"{name}:{self._prefix}") or "").split()

    def has_branch_or_remote(self, name: str) -> bool:
        """Tell whether `name` is a branch, a remote, or a branch of one."""
        branch = f"refs/heads/{name}"
        remote = f"refs/remotes/{name}"
        refs = client.split_lines(self._git("for-each-ref", "--format=%(refname)", branch, remote))  # and all below
        if any(ref == branch or ref.startswith(remote) for ref in refs):
            return True
        return name in client.split_lines(self._git("remote"))

    def commits(self, hashes: Iterable[str]) -> dict[str, Commit]:
        """Return the commits of these hashes that are in the repository, by hash."""
        wanted = dict.fromkeys(name for name in hashes if _HASH.fullmatch(name))
        answer = self._git("cat-file", "--batch", stdin="".join(f"{name}\n" for name in wanted).encode())
        return {commit.hash: commit for commit in objects.commits(answer)}

    def difference(self, old: str, new: str) -> str:
        """Return the project's changes between two commits, a summary and then a patch; empty if there are none."""
        text = self._git(
            *("-c", "core.bigFileThreshold=256k", "-c", "core.quotePath=false"),  # a larger file differs, in one line
            *("diff-tree", "-r", "--patch-with-stat", "--find-renames", "--relative", "--no-color"),
            *("--no-ext-diff", "--no-textconv", "--stat-width=100", old, new, "--", "."),
        )
        return text.decode(errors="backslashreplace").strip("\n")

    def changed_lines(self, old: str, new: str) -> dict[str, tuple[int, int] | None]:
        """Return the lines added and removed in each file that differs between two commits; None for a binary file."""
        options = ("-r", "--numstat", "-z", "--no-renames", "--relative", "--no-ext-diff", "--no-textconv")
        lines: dict[str, tuple[int, int] | None] = {}
        for line in client.split_zero(self._git("diff-tree", *options, old, new, "--", ".")):
            added, removed, path = line.split("\t", 2)
            if not is_ours(path):
                lines[path] = None if added == "-" else (int(added), int(removed))
        return lines

    def tree(self, commit: str) -> str | None:
        """Return the hash of the project's tree in `commit`, or None if the project was not there yet."""
        return self._ask("rev-parse", "--verify", "--quiet", f"{commit}:{self._prefix}")

    def parent(self, commit: str) -> str | None:
        """Return the first parent of a commit, or None."""
        return self._ask("rev-parse", "--verify", "--quiet", f"{commit}^")

    def file(self, commit: str, path: str) -> bytes | None:
        """Return the content of a file in `commit`, or None if it has no such file.

        Raises:
            GitFailed: the commit is not here, or not all of it (a partial clone).
        """
        try:
            return self._git("cat-file", "blob", f"{commit}:{self._prefix}{path}")
        except GitFailed:
            if self._type(commit, path) == "blob":
                raise _not_here(path, commit) from None
            return None

    def files(self, commit: str) -> list[Entry]:
        """Return the project's files in `commit`, without /__*__.

        Raises:
            Refused: one is a submodule.
        """
        if commit not in self._listed:
            self._listed[commit] = self._list(commit)
        return self._listed[commit]

    def _list(self, commit: str) -> list[Entry]:
        try:
            listing = self._git("ls-tree", "-r", "-z", "--full-tree", f"{commit}:{self._prefix}")
        except GitFailed:
            if self._type(commit, ""):
                raise
            return []
        entries = [entry for entry in objects.entries(listing) if not is_ours(entry.path)]
        for entry in entries:
            if entry.mode == objects.SUBMODULE:
                raise Refused(
                    f"{entry.path} is a submodule; a tag does not hold its files. Add them to this repository."
                )
        self._attributes |= {entry for entry in entries if entry.path.rpartition("/")[2] == _ATTRIBUTES}
        self._attributes |= self._attributes_above(commit)
        return entries

    def _attributes_above(self, commit: str) -> set[Entry]:
        folders = self._prefix.split("/")[:-1]
        paths = ["/".join([*folders[:depth], _ATTRIBUTES]) for depth in range(len(folders))]
        if not paths:
            return set()
        return set(objects.entries(self._git("ls-tree", "-z", "--full-tree", commit, "--", *paths)))

    def _type(self, commit: str, path: str) -> str:
        """Return the type of object at a path of the project ("" for the project itself): blob, tree or "" for none.

        Raises:
            GitFailed: the commit is not here.
        """
        whole = f"{self._prefix}{path}".rstrip("/")
        if not whole:
            return "tree"
        listing = self._git("ls-tree", "-z", "--full-tree", commit, "--", whole)
        return listing.split()[1].decode() if listing else ""

    def contents(self, entries: list[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """Yield each file with its bytes as committed; an LFS pointer yields the object that it names.

        Raises:
            Refused: the LFS object is not in the local store, or a blob is missing (a partial clone).
        """
        uses_lfs = self._uses_lfs()
        for entry, data in self._blobs(entries):
            yield entry, lfs.resolved(self._common, entry.path, data) if uses_lfs else data

    def remember(self, commit: str) -> None:
        """Keep a commit's file contents, up to 64 MB, for reading commits that differ little from it."""
        size = 0
        for entry, data in self._blobs(self.files(commit)):
            size += len(data)
            if size > _MOST_REMEMBERED:
                return
            self._remembered[entry.blob] = data

    def check_lfs(self, entries: list[Entry]) -> None:
        """Refuse if an LFS pointer names an object that is not here."""
        if self._uses_lfs():
            for entry, data in self._blobs(entries):
                lfs.resolved(self._common, entry.path, data)

    # -- new objects ---------------------------------------------------------------------------------------------------

    def commit(self, changes: list[Change], edits: Edits, message: str) -> str:
        """Make a commit on top of HEAD that holds `changes` of the working tree, and then `edits` of files (by path).

        Only the object is made; nothing refers to it.

        Raises:
            Refused: a file to edit is not there, or an edit refuses.
        """
        head = self.head()
        with tempfile.TemporaryDirectory(prefix="exper-") as folder:
            index = os.path.join(folder, "index")
            if self._index.exists():  # it knows which files are unchanged, so that git need not read them again
                shutil.copy2(self._index, index)  # with its time: git reads a file of the same time once more
            env = {"GIT_INDEX_FILE": index}
            self._git("read-tree", "--reset", head, env=env)
            self._update(env, changes)
            return self._commit_index(env, head, edits, message)

    def child(self, parent: str, edits: Edits, message: str) -> str:
        """Make a commit on top of `parent` that holds `edits` of its files; nothing refers to it."""
        with tempfile.TemporaryDirectory(prefix="exper-") as folder:
            env = {"GIT_INDEX_FILE": os.path.join(folder, "index")}
            self._git("read-tree", parent, env=env)
            return self._commit_index(env, parent, edits, message)

    def _commit_index(self, env: dict[str, str], parent: str, edits: Edits, message: str) -> str:
        """Make a commit of an index, after `edits` of its files."""
        for path, edit in edits.items():
            mode, blob = self._staged(path, env)
            if mode == objects.LINK:
                raise objects.link_refused(path)
            edited = self._git("hash-object", "-w", "--stdin", stdin=edit(self._git("cat-file", "blob", blob)))
            info = f"{mode},{edited.decode().strip()},{self._prefix}{path}"
            self._git("update-index", "--cacheinfo", info, env=env)
        tree = self._git("write-tree", env=env).decode().strip()
        identity = client.identity(self.root)
        commit = self._git("commit-tree", tree, "-p", parent, env=identity, stdin=client.encode(message))
        return commit.decode().strip()

    def create_tag(self, name: str, commit: str, message: str) -> TagObject:
        """Make the annotated tag `name`.

        Raises:
            TagTaken: it exists.
        """
        who = "GIT_COMMITTER_IDENT"
        tagger = self._ask("var", who) or os.fsdecode(self._git("var", who, env=client.identity(self.root))).strip()
        content = f"object {commit}\ntype commit\ntag {name}\ntagger {tagger}\n\n{message}"
        tag = self._git("mktag", stdin=client.encode(content)).decode().strip()
        nothing = "0" * len(tag)
        try:
            self._git("update-ref", f"refs/tags/{name}", tag, nothing)
        except GitFailed as error:
            if self._ask("rev-parse", "--verify", "--quiet", f"refs/tags/{name}"):
                raise TagTaken(str(error)) from None
            raise
        return TagObject(name, tag, commit, message)

    def delete_tags(self, *tags: TagObject) -> None:
        """Delete tags that have not moved since they were read; all of them or none.

        Raises:
            TagTaken: one has been moved or deleted meanwhile.
        """
        commands = "".join(f"delete refs/tags/{tag.name}\0{tag.object}\0" for tag in tags)
        try:
            self._git("update-ref", "--stdin", "-z", stdin=os.fsencode(commands))
        except GitFailed as error:
            raise TagTaken(str(error)) from None

    def pack_tags(self, pattern: str, base: str) -> None:
        """Pack the references of tags into one file, so that thousands of them stay fast; branches stay as they are.

        If many tags match `pattern`, their objects are packed too, as git would do later: all objects that are new
        since the commit `base`, the parent of each tag's commit.
        """
        self._git("pack-refs")
        tags = self._git("for-each-ref", "--format=%(objectname)", f"refs/tags/{pattern}")
        if tags.count(b"\n") >= _MANY_TAGS:
            name = self._common / "objects" / "pack" / "pack"
            options = ("--revs", "--incremental", "--non-empty", "--delta-base-offset", "--quiet")
            self._git("pack-objects", *options, os.fspath(name), stdin=tags + f"^{base}\n".encode())
            self._git("prune-packed", "--quiet")

    # -- calls of git --------------------------------------------------------------------------------------------------

    def _git(self, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> bytes:
        return client.call(self.root, *arguments, stdin=stdin, env=env)

    def _ask(self, *arguments: str) -> str | None:
        return client.ask(self.root, *arguments)

    def _commit_of(self, name: str) -> str | None:
        return self._ask("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")

    def _blobs(self, entries: list[Entry]) -> Iterator[tuple[Entry, bytes]]:
        others = [entry.blob for entry in entries if entry.blob not in self._remembered]
        contents = client.blobs(self.root, others) if others else iter(())
        for entry in entries:
            data = self._remembered.get(entry.blob)
            if data is None:
                data = next(contents, None)
            if data is None:
                commits = (commit for commit, listed in self._listed.items() if entry in listed)
                raise _not_here(entry.path, next(commits, "HEAD"))
            yield entry, data

    def _update(self, env: dict[str, str], changes: list[Change]) -> None:
        """Bring changes of the working tree into an index, each path alone: `git add` would take all of a folder."""
        deleted = [change.path for change in changes if change.kind == "deleted"]
        others = [change.path for change in changes if change.kind != "deleted"]
        for paths, options in ((deleted, ("--force-remove",)), (others, ("--add", "--replace"))):
            if paths:
                self._git("update-index", *options, "-z", "--stdin", env=env, stdin=client.join_zero(paths))

    def _staged(self, path: str, env: dict[str, str]) -> tuple[str, str]:
        """Return mode and blob of a file in an index."""
        fields = self._git("ls-files", "-s", "-z", "--", path, env=env).split()
        if not fields:
            raise Refused(f"{path} is not committed, so there is nothing to change in it.")
        return fields[0].decode(), fields[1].decode()

    def _uses_lfs(self) -> bool:
        local = [self.top / _ATTRIBUTES, self._common / "info" / "attributes"]
        committed = [data for _, data in self._blobs(list(self._attributes))]
        return lfs.is_used(committed + [path.read_bytes() for path in local if path.is_file()])


def _not_here(path: str, commit: str) -> GitFailed:
    return GitFailed(
        f"{path} of {commit[:10]} is not in this repository, a partial clone. Bring it: git archive {commit} >/dev/null"
    )


def _no_repository(root: Path, message: str) -> Refused:
    trust = re.search(r"git config --global --add safe\.directory .*", message)
    if trust:  # git names the folder that it means: the repository's top, or its .git
        return Refused(f"{root} belongs to another user, so git does not trust it. If you do, type: {trust[0]}")
    if "not a git repository" in message:
        return Refused(f"{root} is in no git repository. Type: git init && git add -A && git commit -m first")
    return Refused(f"git can't read the repository at {root}: {message}")
