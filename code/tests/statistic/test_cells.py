"""The cells of a table."""

import math
import warnings
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from exper.config import config_file
from exper.statistic import cells

TYPED = st.text("0123456789+-*/.()[]'\"\\# \nnot,uNone", max_size=8)


@example("1-5")
@example("224*224")
@example("not 1")
@example("None#")
@example("True+1")
@example("\\\n5")
@example("#\n1.")
@given(st.one_of(st.text(), TYPED, st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text(max_size=3))))
def test_a_cell_reads_back_as_the_value_it_was(value: Any) -> None:
    cell = cells.text(value)
    if isinstance(value, float) and not math.isfinite(value):
        assert repr(float(cell)) == repr(value)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of "1if"
        found = config_file.parse_change(f"name={cell}")[1]
    assert (type(found), found) == (type(value), value)
