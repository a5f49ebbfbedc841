"""What git holds: changes of the working tree, and the files, tags and commits of a repository, parsed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from exper.core.errors import Refused
from exper.repository import client

LINK = "120000"
SUBMODULE = "160000"


@dataclass(frozen=True)
class Change:
    """An uncommitted change; `path` is relative to the project's root."""

    path: str
    kind: str  # modified, added, deleted, unmerged or untracked


@dataclass(frozen=True)
class Entry:
    """A file of a commit; `path` is relative to the project's root."""

    mode: str  # 100644, 100755, 120000 (symbolic link)
    blob: str
    path: str

    @property
    def is_link(self) -> bool:
        return self.mode == LINK


@dataclass(frozen=True)
class TagObject:
    """A tag; `object` is the object that the reference points to, `message` is empty for a lightweight tag."""

    name: str
    object: str
    commit: str
    message: str


@dataclass(frozen=True)
class Commit:
    """A commit; `date` is when it was made, in seconds since 1970."""

    hash: str
    date: int
    subject: str


def is_ours(path: str) -> bool:
    """Tell whether a path of the project lies in /__*__, which no snapshot and no check for changes covers."""
    first = path.partition("/")[0]
    return len(first) > 4 and first.startswith("__") and first.endswith("__")


def link_refused(path: str) -> Refused:
    """Return the error for a symbolic link in place of a file that is to be read."""
    return Refused(f"{path} is a symbolic link, of which a commit holds no content. Commit a file in its place.")


def entries(listing: bytes) -> Iterator[Entry]:
    """Yield the files that `git ls-tree -z` lists."""
    for line in client.split_zero(listing):
        fields, _, path = line.partition("\t")
        mode, _, blob = fields.split()
        yield Entry(mode, blob, path)


def tags_of_commits(answer: bytes) -> Iterator[TagObject]:
    """Yield the tags in an answer of `git for-each-ref` in TAG_FORMAT, without those of no commit."""
    for line in client.split_lines(answer):
        name, object_, kind, peeled, peeled_kind = line.split("\0")
        if "commit" in (kind, peeled_kind):
            yield TagObject(name, object_, object_ if kind == "commit" else peeled, "")


TAG_FORMAT = "%00".join(
    f"%({field})" for field in ("refname:strip=2", "objectname", "objecttype", "*objectname", "*objecttype")
)


def commits(answer: bytes) -> Iterator[Commit]:
    """Yield the commits in an answer of `git cat-file --batch`; missing and other objects are skipped."""
    while answer:
        header, _, answer = answer.partition(b"\n")
        name, kind, *size = header.decode().split()
        if size:
            end = int(size[0])
            if kind == "commit":
                yield _commit(name, answer[:end])
            answer = answer[end + 1 :]


def _commit(name: str, content: bytes) -> Commit:
    headers, _, message = content.decode(errors="replace").partition("\n\n")
    date = re.search(r"(?m)^committer .* (\d+) [+-]\d+$", headers)
    subject = " ".join(message.strip().partition("\n\n")[0].split())
    return Commit(name, int(date[1]) if date else 0, subject)


def change(line: str) -> Change:
    """Parse a line of `git status --porcelain=v2`; its path is relative to the top of the repository."""
    if line.startswith("u"):
        return Change(line.split(" ", 10)[10], "unmerged")
    _, state, _, _, _, _, _, _, path = line.split(" ", 8)
    kind = "deleted" if "D" in state else "added" if "A" in state else "modified"
    return Change(path, kind)
