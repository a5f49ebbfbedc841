"""List the commands."""

from exper import commands
from exper.core.paths import Project


def help(arguments: list[str], project: Project) -> int:  # noqa: A001, ARG001  # named as the command is
    """Print every command with the first line of its help."""
    for name in commands.names():
        print(f"  {name:<10} {commands.summary(name)}")
    print("\nFor the options of a command, type: exper <command> -h")
    return 0
