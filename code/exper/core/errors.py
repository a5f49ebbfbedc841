"""Errors that the user can mend, and the nearest name where one is mistyped."""

from collections.abc import Iterable


class Refused(Exception):
    """Stop with exit code 2 and nothing changed; the text says what is wrong and what to type next."""


def did_you_mean(name: str, names: "Iterable[str]") -> str:
    """Return ` Did you mean 'baseline'?`, or nothing if no name is close; `lr` is close to `optimizer.lr`."""
    import difflib  # only to refuse something

    others = [other for other in names if other != name]
    close = difflib.get_close_matches(name, others, 1) or [other for other in others if other.endswith(f".{name}")]
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown_name(setting: str, name: str, names: "Iterable[str]") -> Refused:
    """Return the error for a name that is not in `names`: it offers the nearest and lists them all."""
    names = sorted(names)
    listed = ", ".join(names) or "none"
    return Refused(f"{setting}: {name!r} is unknown.{did_you_mean(name, names)} Known: {listed}.")
