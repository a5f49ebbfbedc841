"""What `logger` in config.py names: its parts, the packages that they need, and no passwords.

`tensorboard` and `picture` write into the run; the others send what its files hold, and sender.py is the program that
does it. Imports none of them.
"""

import re
from typing import Any, NamedTuple

from exper.core import host_info
from exper.core.errors import Refused, unknown_name

OURS = ("tensorboard", "picture")
Part = dict[str, Any]


class Needs(NamedTuple):
    """What a logger needs."""

    package: str  # that has to be installed, in the spelling of `machine.versions`
    secret: str  # the variables that hold what config.py may not


SENDING = {
    "sacred": Needs("", "MONGO_URI, the whole of it"),
    "mlflow": Needs("mlflow-skinny", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    "wandb": Needs("wandb", "WANDB_API_KEY"),
    "elasticsearch": Needs("elasticsearch", "ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and …_PASSWORD"),
}
_MONGO = SENDING["sacred"]._replace(package="pymongo")
_USER = re.compile(r"//[^/?#\s]*@")  # of a URL


def named(logger: Any) -> list[Part]:
    """Return the parts that `logger` names; a string is a part without arguments.

    Raises:
        Refused: one is unknown or without a name, is there twice, or is ours and has arguments.
    """
    found = [_part(one) for one in logger]
    names = [part.get("name") for part in found]
    for name, part in zip(names, found, strict=True):
        if not isinstance(name, str):
            raise Refused(f'logger: {part!r} has no name. Write {{"name": "mlflow"}}.')
        if name not in (*OURS, *SENDING):
            raise unknown_name("logger", name, (*OURS, *SENDING))
        if names.count(name) > 1:
            raise Refused(f"logger: {name!r} is there twice. Keep one.")
        if name in OURS and len(part) > 1:
            raise unknown_name(f"logger.{name}", next(key for key in part if key != "name"), ())
    return found


def has(logger: Any, name: str) -> bool:
    """Tell whether `logger`, which may be a stranger's and anything, names this one."""
    return isinstance(logger, list | tuple) and any(_part(one).get("name") == name for one in logger)


def sending(logger: Any) -> list[Part]:
    """Return the parts that send what the run's files hold; of what a stranger calls `logger`, none."""
    found = [_part(one) for one in logger] if isinstance(logger, list | tuple) else []
    return [part for part in found if isinstance(part.get("name"), str) and part["name"] in SENDING]


def _part(one: Any) -> Part:
    return one if isinstance(one, dict) else {"name": one}


def check(logger: Any) -> None:
    """Refuse a logger whose package is missing, or that would record a password."""
    for part in sending(logger):
        for setting, value in part.items():
            if isinstance(value, str) and _USER.search(value):
                raise Refused(
                    f"logger.{part['name']}.{setting} has a user or a password in it, which would be recorded."
                    f" Take it out, and set {needs(part).secret}."
                )
        package = needs(part).package
        if package and package not in host_info.versions():
            raise Refused(
                f"the logger {part['name']!r} needs the package {package}. Type:"
                f" pip install -r code/requirements-{part['name']}.txt -c code/constraints.txt"
            )


def without_user(text: str) -> str:
    """Return a text without the users and passwords of addresses in it."""
    return _USER.sub("//", text)


def needs(part: Part) -> Needs:
    """Return what a part needs."""
    return _MONGO if part["name"] == "sacred" and part.get("storage") == "mongo" else SENDING[part["name"]]
