import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from exper.core import components
from exper.core.components import Count, Positive, Share
from exper.core.errors import Refused


def part(size: Count, rate: Positive = 0.5, share: Share | None = None, widths: list[int] = [1]) -> tuple[Any, ...]:  # noqa: B006
    if size == 13:
        raise ValueError("13 is no size")
    return size, rate, share, widths


CHOICES: dict[str, Callable[..., Any]] = {"part": part, "adam": torch.optim.Adam}


def test_a_part_is_called_with_its_arguments() -> None:
    assert components.build("x", {"name": "part", "size": 2, "rate": 1, "widths": (3, 4)}, CHOICES) == (
        2,
        1,
        None,
        (3, 4),
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("part", 'write a component, such as {"name": "part"}'),
        ({"size": 1}, "write a component"),
        ({"name": "prat"}, "x.name: 'prat' is unknown. Did you mean 'part'? Known: adam, part."),
        ({"name": "part"}, "x lacks 'size'"),
        (
            {"name": "part", "sise": 1, "size": 1},
            "x: 'sise' is unknown. Did you mean 'size'? Known: rate, share, size, widths.",
        ),
        ({"name": "part", "size": 0}, "x.size = 0: must be a whole number at least 1."),
        ({"name": "part", "size": 1.0}, "x.size = 1.0: must be a whole number"),
        ({"name": "part", "size": True}, "x.size = True"),
        ({"name": "part", "size": 1, "rate": 0}, "x.rate = 0: must be a number above 0."),
        ({"name": "part", "size": 1, "share": 1.5}, "x.share = 1.5: must be a number from 0 to 1 or None."),
        ({"name": "part", "size": 1, "share": float("nan")}, "x.share = nan"),
        ({"name": "part", "size": 1, "widths": [1, "2"]}, "x.widths = [1, '2']"),
        ({"name": "part", "size": 1, "widths": 3}, "x.widths = 3: must be a list, each a whole number."),
        ({"name": "part", "size": 13}, "13 is no size"),
        ({"name": "adam", "lr": "0.1"}, "x.lr = '0.1'"),
        ({"name": "adam", "betas": [0.9]}, "x.betas = [0.9]"),
    ],
)
def test_what_is_wrong_is_named_with_the_choices(given: Any, says: str) -> None:
    with pytest.raises(Refused, match=re.escape(says)):
        components.build("x", given, CHOICES, *([[torch.zeros(1)]] if "adam" in str(given) else []))


def test_a_function_that_takes_anything_gets_anything() -> None:
    assert components.build("x", {"name": "dict", "a": 1}, {"dict": lambda **more: more}) == {"a": 1}
