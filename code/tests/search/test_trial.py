"""The tags of trials."""

import pytest

from exper.core.errors import Refused
from exper.search import trial
from exper.search.space import Choice, Space

SPACE: Space = {"optimizer.lr": Choice((0.1,)), "model.sizes": Choice(([4, 8],))}


def test_a_tag_names_the_values() -> None:
    assert trial.name("wide", SPACE, {"optimizer.lr": 0.1}) == "wide+lr=0.1"


def test_values_that_can_not_be_in_a_tag_stay_apart_by_a_hash() -> None:
    tags = {trial.name("wide", SPACE, {"model.sizes": sizes}) for sizes in ([4, 8], "[4, 8]", "[4_ 8]", "[4; 8]")}
    assert len(tags) == 3  # the list and its text are written alike
    assert all(tag.startswith("wide+sizes=_4__8_+") or tag == "wide+sizes=_4__8_" for tag in tags)


def test_a_long_tag_is_cut_to_100_bytes_with_a_hash() -> None:
    first, second = (trial.name("wide", SPACE, {"optimizer.lr": "x" * 200 + end}) for end in "ab")
    assert first != second
    assert (len(first), len(second)) == (100, 100)


def test_a_search_has_to_leave_room_for_the_tags_of_its_trials() -> None:
    trial.check_tag("x" * 190)
    with pytest.raises(Refused):
        trial.check_tag("x" * 195)
