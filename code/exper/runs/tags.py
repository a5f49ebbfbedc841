"""Tags: their names, `tag/id` references, the message with its trailers, and making one for a new run."""

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass

from exper.core import host_info
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.repository.objects import TagObject
from exper.repository.repository import Repository, TagTaken
from exper.runs import run_record

UNTAGGED = "untagged"
SEEDS_TRAILER = "Exper-Seeds"  # of a trial: the number of runs, each with its own seed, that its search makes
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")
_MAX_BYTES = 200
_RESERVED = {"HEAD", "README.md", UNTAGGED}
_TRAILER = re.compile(r"(Exper-[A-Za-z]+): (.*)")


def check(name: str) -> None:
    """Refuse a name that no tag of a run can have; a trial's `base+lr=0.1` is allowed."""
    if not _ALLOWED.fullmatch(name) or len(name) > _MAX_BYTES:
        raise Refused(
            f"{name!r} can't be a tag. A tag has letters, digits and . _ + = -, begins with a letter or digit,"
            f" and is at most {_MAX_BYTES} long."
        )
    if ".." in name or name.endswith((".", ".lock")):
        raise Refused(f"{name!r} can't be a tag: git allows no '..', and no '.' or '.lock' at its end.")


def check_new(name: str) -> None:
    """Refuse a name that `run` does not accept for a new tag."""
    if "=" in name.partition("+")[0] and not name.startswith("="):
        raise Refused(f"{name!r} looks like a setting; the tag is missing. Type: run <tag> {name}")
    check(name)
    if name.isdigit():
        raise Refused(
            f"{name!r} can't be a tag: `continue {name}` belongs to the shell. Add a letter, such as t{name}."
        )
    if "+" in name:
        raise Refused(f"{name!r} can't be a tag: + is reserved for the trials of a search.")
    if name in _RESERVED:
        raise Refused(f"{name!r} can't be a tag: Exper or git uses that name.")


# -- references --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """The tag or the run that a user names by `tag` or `tag/id`."""

    tag: str
    number: int | None

    def __str__(self) -> str:
        return self.tag if self.number is None else f"{self.tag}/{self.number}"


def parse_reference(text: str) -> Reference:
    """Parse `tag` or `tag/id`; a trailing `/`, which path completion adds, is dropped.

    Raises:
        Refused: it is neither.
    """
    tag, slash, number_text = text.rstrip("/").partition("/")
    check(tag)
    if not slash:
        return Reference(tag, None)
    number = whole_number(number_text)
    if number is None:
        raise Refused(f"{text!r} is no run. A run is <tag>/<id>, such as {tag}/0.")
    return Reference(tag, number)


def refuse_untagged(reference: Reference) -> None:
    """Refuse an untagged run: no tag holds its code."""
    if reference.tag == UNTAGGED:
        raise Refused("no tag holds the code of untagged runs. Commit it, and type: run <tag>")


def whole_number(text: str) -> int | None:
    """Parse a whole number from 0 to 2^63 - 1; return None for any other text."""
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) >= 2**63:
        return None
    return int(text)


# -- messages ----------------------------------------------------------------------------------------------------------


def message(tag: str, reason: str | None, trailers: Iterable[tuple[str, object]]) -> str:
    """Return the message of a tag: the reason for it, then a line for each trailer."""
    lines = [f"{key}: {_one_line(str(value))}" for key, value in trailers]
    return f"{(reason or _default_reason(tag)).strip()}\n\n" + "\n".join(lines) + "\n"


def run_trailers(seed: int, threads: int, changes: list[str]) -> list[tuple[str, object]]:
    """Return the trailers of a new tag; they are enough to repeat run 0 on another machine."""
    versions = host_info.versions()
    return [
        ("Exper-Format", run_record.FORMAT),
        ("Exper-Seed", seed),
        ("Exper-Threads", threads),
        ("Exper-Python", versions["python"]),
        ("Exper-Torch", versions.get("torch", "none")),
        *(("Exper-Set", change) for change in changes),
    ]


def trailers(tag: TagObject) -> dict[str, str]:
    """Return the trailers of a tag, which only its last paragraph can hold; of several `Exper-Set`, the last."""
    matches = map(_TRAILER.fullmatch, _last_paragraph(tag))
    return dict(match.groups() for match in matches if match)  # type: ignore[misc]


def trailer_number(tag: TagObject, key: str) -> int | None:
    """Return the whole number that a trailer holds, or None."""
    return whole_number(trailers(tag).get(key, ""))


def changes(tag: TagObject) -> list[str]:
    """Return the `name=value` changes that `run` was given, from the trailers of a tag."""
    return [line.removeprefix("Exper-Set: ") for line in _last_paragraph(tag) if line.startswith("Exper-Set: ")]


def reason(tag: TagObject) -> str:
    """Return the reason that the user gave for a tag: its message without trailers; "" if there was none."""
    text = tag.message.strip()
    text = text.rpartition("\n\n")[0].strip() if trailers(tag) else text
    return "" if text == _default_reason(tag.name) else text


def _last_paragraph(tag: TagObject) -> list[str]:
    return tag.message.rstrip("\n").rpartition("\n\n")[2].splitlines()


def _default_reason(tag: str) -> str:
    return f"exper run {tag}"


def _one_line(text: str) -> str:
    return text.encode("unicode_escape").decode() if not text.isprintable() else text


# -- a new tag ---------------------------------------------------------------------------------------------------------


def add_arguments(parser: Parser) -> None:
    """Add the options of a command that makes a tag; `tag` itself is the command's."""
    parser.add_argument("settings", nargs="*", metavar="name=value", help="a setting to change in the tagged config.py")
    parser.add_argument("-f", dest="fixed", action="store_true", help="use the seed in code/seed, not a fresh one")
    parser.add_argument(
        "-m", dest="message", metavar="WHY", help="the reason; also saves uncommitted changes with the tag"
    )
    parser.add_argument("--include", action="append", default=[], metavar="PATH", help="with -m: save this file anyway")
    parser.set_defaults(command=parser.prog)


def check_free(repository: Repository, tag: str) -> None:
    """Refuse a tag whose name git would confuse with a branch or a remote."""
    if repository.has_branch_or_remote(tag):
        raise Refused(f"{tag!r} is a branch or a remote here; git would not know which is meant. Choose another.")


def create(repository: Repository, options: argparse.Namespace, commit: str, seed: int, threads: int) -> TagObject:
    """Make the tag; its message holds all that is needed to repeat its run 0."""
    text = message(options.tag, options.message, run_trailers(seed, threads, options.settings))
    try:
        return repository.create_tag(options.tag, commit, text)
    except TagTaken:
        advice = "To join it, type the same again" if options.command.endswith(" search") else "Choose another"
        raise Refused(f"somebody else has made the tag {options.tag!r} just now. {advice}.") from None
