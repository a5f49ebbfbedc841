"""Names of tags, references to runs, and what a tag's message holds."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from exper.core.errors import Refused
from exper.repository.repository import TagObject

UNTAGGED = "untagged"
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")
_MAX_BYTES = 200
_RESERVED = {"HEAD", "README.md", UNTAGGED}
SEEDS = "Exper-Seeds"  # of a trial: how many runs with a seed of their own its search makes
_TRAILER = re.compile(r"(Exper-[A-Za-z]+): (.*)")


def check(name: str) -> None:
    """Refuse what can't be a tag of any run, a trial's `base+lr=0.1` included."""
    if not _ALLOWED.fullmatch(name) or len(name) > _MAX_BYTES:
        raise Refused(
            f"{name!r} can't be a tag. A tag has letters, digits and . _ + = -, begins with a letter or digit,"
            f" and is at most {_MAX_BYTES} long."
        )
    if ".." in name or name.endswith((".", ".lock")):
        raise Refused(f"{name!r} can't be a tag: git allows no '..', and no '.' or '.lock' at its end.")


def check_new(name: str) -> None:
    """Refuse what `run` does not take as a tag."""
    if "=" in name.partition("+")[0] and not name.startswith("="):
        raise Refused(f"{name!r} looks like a setting; the tag is missing. Type: run <tag> {name}")
    check(name)
    if name.isdigit():
        raise Refused(
            f"{name!r} can't be a tag: `continue {name}` belongs to the shell. Add a letter, such as t{name}."
        )
    if "+" in name:
        raise Refused(f"{name!r} can't be a tag: + is kept for the trials of a search.")
    if name in _RESERVED:
        raise Refused(f"{name!r} can't be a tag: the name is taken by Exper or git.")


@dataclass(frozen=True)
class Reference:
    """What a user means by `tag` or `tag/id`."""

    tag: str
    number: int | None

    def __str__(self) -> str:
        return self.tag if self.number is None else f"{self.tag}/{self.number}"


def whole_number(text: str) -> int | None:
    """Return the whole number from 0 to 2^63 - 1 that `text` is, or None."""
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) >= 2**63:
        return None
    return int(text)


def parse_reference(text: str) -> Reference:
    """Read `tag` or `tag/id`; a `/` at the end, as completion of paths leaves it, is taken off.

    Raises:
        Refused: it is neither.
    """
    tag, slash, number = text.rstrip("/").partition("/")
    check(tag)
    if not slash:
        return Reference(tag, None)
    known = whole_number(number)
    if known is None:
        raise Refused(f"{text!r} is no run. A run is <tag>/<id>, such as {tag}/0.")
    return Reference(tag, known)


def check_kept(reference: Reference) -> None:
    """Refuse untagged runs, whose code nothing has kept."""
    if reference.tag == UNTAGGED:
        raise Refused("no tag has kept the code of untagged runs. Commit it, and type: run <tag>")


def message(tag: str, why: str | None, trailers: Iterable[tuple[str, object]]) -> str:
    """Return the message of a tag: why it was made, then a line for each trailer."""
    lines = [f"{key}: {_one_line(str(value))}" for key, value in trailers]
    return f"{(why or _no_reason(tag)).strip()}\n\n" + "\n".join(lines) + "\n"


def trailers(tag: TagObject) -> dict[str, str]:
    """Return the trailers of a tag; only its last paragraph can hold them. `Exper-Set` is there once: the last."""
    lines = tag.message.rstrip("\n").rpartition("\n\n")[2].splitlines()
    return dict(match.groups() for match in map(_TRAILER.fullmatch, lines) if match)  # type: ignore[misc]


def reason(tag: TagObject) -> str:
    """Return why a tag was made: its message without trailers, and without what stands there if nobody said why."""
    text = tag.message.strip()
    text = text.rpartition("\n\n")[0].strip() if trailers(tag) else text
    return "" if text == _no_reason(tag.name) else text


def changes(tag: TagObject) -> list[str]:
    """Return the `name=value` that `run` got, as the trailers of a tag tell them."""
    lines = tag.message.rstrip("\n").rpartition("\n\n")[2].splitlines()
    return [line.removeprefix("Exper-Set: ") for line in lines if line.startswith("Exper-Set: ")]


def number_in(tag: TagObject, key: str) -> int | None:
    """Return the whole number of a trailer, or None."""
    return whole_number(trailers(tag).get(key, ""))


def _no_reason(tag: str) -> str:
    return f"exper run {tag}"


def _one_line(text: str) -> str:
    return text.encode("unicode_escape").decode() if not text.isprintable() else text
