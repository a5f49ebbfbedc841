"""The loggers that config.py can name."""

import importlib
import re
from typing import Any

import pytest

from exper.config import logger_registry
from exper.core import packages
from exper.core.errors import Refused


@pytest.mark.parametrize(
    ("logger", "says"),
    [
        (["wanb"], "logger: 'wanb' is unknown. Did you mean 'wandb'?"),
        ([{"project": "x"}], "has no name. Write"),
        (["mlflow", {"name": "mlflow"}], "'mlflow' is there twice"),
        ([{"name": "picture", "size": 3}], "logger.picture: 'size' is unknown"),
    ],
)
def test_a_wrong_logger_is_refused(logger: list[Any], says: str) -> None:
    with pytest.raises(Refused, match=re.escape(says)):
        logger_registry.named(logger)


def test_a_strangers_logger_may_be_anything() -> None:
    for logger in (None, "wandb", 3, [3, None, {"level": "debug"}, {"name": 4}]):
        assert logger_registry.sending(logger) == []
        assert not logger_registry.has(logger, "wandb")


def test_a_password_in_a_url_is_refused_with_the_variable_to_set() -> None:
    with pytest.raises(Refused, match="MLFLOW_TRACKING_PASSWORD"):
        logger_registry.check([{"name": "mlflow", "tracking_uri": "http://me:secret@host"}])
    assert logger_registry.without_user("see http://me:secret@host/x") == "see http://host/x"


@pytest.mark.parametrize("name", logger_registry.SENDERS)
def test_every_logger_that_sends_has_its_class_and_its_extra(name: str) -> None:
    entry = logger_registry.SENDERS[name]
    assert hasattr(importlib.import_module(f"exper.sidecars.loggers.{name}"), entry.class_name)
    needed = logger_registry.sender({"name": name, "storage": "mongo"}).package
    assert needed in map(packages.name_of, packages.of_extra(name))
