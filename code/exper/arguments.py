"""Command lines: argparse, with errors in the form of all our errors."""

import argparse
from typing import NoReturn

from exper.error import Refused


class Parser(argparse.ArgumentParser):
    """A parser whose help is the docstring of the command's file."""

    def __init__(self, name: str, doc: str | None) -> None:
        """Take no abbreviations: an option that exists later must not change what a script means."""
        super().__init__(
            prog=name, description=doc, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise Refused(f"{message}. Type: {self.prog} -h")
