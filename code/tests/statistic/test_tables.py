"""What a table shows."""

from exper.statistic import tables


def test_a_narrow_terminal_gets_the_columns_that_begin_in_it() -> None:
    table = tables.Table({"run": "run", "hparam/a": "a", "hparam/b": "b"}, [{"run": "long-tag/0", "hparam/a": 1}])
    assert list(tables.narrow(table, 5).headers) == ["run", "hparam/a"]
    assert tables.narrow(table, 80) == table
