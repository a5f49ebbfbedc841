"""The one exception for what the user can mend."""


class Refused(Exception):
    """Stop with exit code 2 and nothing changed; the text says what is wrong and what to type next."""
