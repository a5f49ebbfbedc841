"""List the commands."""

from exper import commands
from exper.core.paths import Project


def help(arguments: list[str], project: Project) -> int:  # noqa: A001, ARG001  # named as the command is
    """Print every command with one line of what it does."""
    for name in commands.names():
        print(f"  {name:<10} {commands.summary(name)}")
    print("\n`exper <command> -h` tells more; the README tells all.")
    return 0
