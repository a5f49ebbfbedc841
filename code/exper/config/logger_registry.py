"""The loggers that `logger` in config.py can name, the packages that they need, and no passwords. Imports none of them.

`tensorboard` and `picture` write into the run; the others send what its files hold, in a program of their own
(exper/sidecars/sender.py).
"""

import re
import shlex
from typing import Any, NamedTuple

from exper.core import packages
from exper.core.components import Component
from exper.core.errors import Refused, unknown_name

OURS = ("tensorboard", "picture")


class Sender(NamedTuple):
    """A logger that sends, `exper/sidecars/loggers/<name>.py`."""

    class_name: str
    package: str  # that has to be installed, in the spelling of `packages.installed`
    secret: str  # the variables that hold what config.py may not


SENDERS = {
    "sacred": Sender("Sacred", "", "MONGO_URI, the whole of it"),
    "mlflow": Sender("MLflow", "mlflow-skinny", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    "wandb": Sender("WandB", "wandb", "WANDB_API_KEY"),
    "elasticsearch": Sender(
        "Elasticsearch", "elasticsearch", "ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and …_PASSWORD"
    ),
}
_MONGO = SENDERS["sacred"]._replace(package="pymongo")
_USER = re.compile(r"//[^/?#\s]*@")  # of a URL


def named(logger: Any) -> list[Component]:
    """Return each logger as a dict; a string is a logger without arguments.

    Raises:
        Refused: one is unknown or without a name, is there twice, or is ours and has arguments.
    """
    loggers = [_as_dict(entry) for entry in logger]
    names = [each.get("name") for each in loggers]
    for name, arguments in zip(names, loggers, strict=True):
        if not isinstance(name, str):
            raise Refused(f'logger: {arguments!r} has no name. Write {{"name": "mlflow"}}.')
        if name not in (*OURS, *SENDERS):
            raise unknown_name("logger", name, (*OURS, *SENDERS))
        if names.count(name) > 1:
            raise Refused(f"logger: {name!r} is there twice. Keep one.")
        if name in OURS and len(arguments) > 1:
            raise unknown_name(f"logger.{name}", next(key for key in arguments if key != "name"), ())
    return loggers


def has(logger: Any, name: str) -> bool:
    """Tell whether `logger`, which may be anything in a user's own config.py, names this logger."""
    return isinstance(logger, list | tuple) and any(_as_dict(entry).get("name") == name for entry in logger)


def sending(logger: Any) -> list[Component]:
    """Return the loggers that send in `logger`, which may be anything in a user's own config.py."""
    loggers = [_as_dict(entry) for entry in logger] if isinstance(logger, list | tuple) else []
    return [each for each in loggers if isinstance(each.get("name"), str) and each["name"] in SENDERS]


def sender(logger: Component) -> Sender:
    """Return the table's entry for a logger that sends."""
    return _MONGO if logger["name"] == "sacred" and logger.get("storage") == "mongo" else SENDERS[logger["name"]]


def check(logger: Any) -> None:
    """Refuse a logger whose package is missing, or that would record a password."""
    for arguments in sending(logger):
        name = arguments["name"]
        entry = sender(arguments)
        for setting, value in arguments.items():
            if isinstance(value, str) and _USER.search(value):
                raise Refused(
                    f"logger.{name}.{setting} has a user or a password in it, which would be recorded."
                    f" Take it out, and set {entry.secret}."
                )
        if entry.package and entry.package not in packages.installed():
            raise Refused(
                f"the logger {name!r} needs the package {entry.package}. Type:"
                f" pip install {shlex.join(packages.of_extra(name))} -c code/constraints.txt"
            )


def without_user(text: str) -> str:
    """Return a text without the users and passwords of the URLs in it."""
    return _USER.sub("//", text)


def _as_dict(entry: Any) -> Component:
    return entry if isinstance(entry, dict) else {"name": entry}
