"""Compare texts that a command changes."""


def is_inserted_into(before: str, after: str) -> bool:
    """Tell whether a text became another by insertions alone: all its characters are there, in their order."""
    rest = iter(after)
    return all(character in rest for character in before)
