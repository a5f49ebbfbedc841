"""config.py as data: read without running it, edited with everything else kept byte for byte."""

import ast
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exper.config import config_file as config
from exper.core.errors import Refused

SOURCE = '''\
"""What is trained."""
# -*- coding: utf-8 -*-

epochs = 3  # not more
größe: int = 2 * (3 + 4)   # arithmetic
optimizer = {
    "name": "sgd",  # or "adam"
    'lr': 1e-1, "betas": (0.9, 0.999),

    "body": {"lr": 0.5},
}
layers = [1,
          2]   ;  last = None
text = ("a"
        "b")
'''.encode()


def test_it_reads_every_kind_of_value() -> None:
    assert config.flatten(config.read(SOURCE)) == {
        "epochs": 3,
        "größe": 14,
        "optimizer.name": "sgd",
        "optimizer.lr": 0.1,
        "optimizer.betas": (0.9, 0.999),
        "optimizer.body.lr": 0.5,
        "layers": [1, 2],
        "last": None,
        "text": "ab",
    }


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        ("epochs=5", "epochs = 3 ", "epochs = 5 "),
        ("größe=3", "2 * (3 + 4)", "3"),
        ("optimizer.lr=1", "1e-1", "1.0"),
        ("optimizer.lr=1e-3", "1e-1", "0.001"),
        ("optimizer.body.lr=2", "0.5", "2.0"),
        ("optimizer.name=adam", '"sgd"', '"adam"'),
        ("optimizer.name='it''s'", '"sgd"', '"its"'),
        ("optimizer.betas=(1, 2)", "(0.9, 0.999)", "(1, 2)"),
        ("layers=[]", "[1,\n          2]", "[]"),
        ("last=7", "None", "7"),
        ("optimizer.name=None", '"sgd"', "None"),
        ("text=c d", '"a"\n        "b"', '"c d"'),
        ("optimizer.body={'name': 'x', 'lr': 1}", '{"lr": 0.5}', '{"name": "x", "lr": 1}'),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
def test_an_edit_changes_the_value_alone(change: str, old: str, new: str, end: str, mark: bytes) -> None:
    name, value = config.parse_change(change)
    before = mark + SOURCE.replace(b"\n", end.encode())
    expected = before.replace(old.replace("\n", end).encode(), new.encode(), 1)
    assert config.edit(before, {name: value}) == expected


@pytest.mark.parametrize(
    "change",
    ["epochs=1.5", "epochs=True", "epochs=many", "optimizer.lr=x", "optimizer.lr=None_", "optimizer=3",
     "optimizer.name=3", "nope=1", "optimizer.nope=1", "epochs.x=1", "optimizer.betas.0=1", "layers=1",
     "optimizer.=1", ".epochs=1", f"optimizer.lr={10**400}"],
)  # fmt: skip
def test_a_value_of_another_type_or_an_unknown_name_is_refused(change: str) -> None:
    with pytest.raises(Refused):
        config.edit(SOURCE, dict([config.parse_change(change)]))


def test_a_search_space_is_given_like_any_setting() -> None:
    change = config.parse_change('search={"optimizer.lr": [0.01, 0.001]}')
    assert config.edit(b"search = None\n", dict([change])) == b'search = {"optimizer.lr": [0.01, 0.001]}\n'


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            'optimizer={"name": "adam", "groups": {"body.0": {}}}',
            "the value of optimizer, line 1: 'body.0' can't be a key",
        ),
        ('layers=[{"a": 1, "a": 2}]', "the value of layers, line 1: 'a' can't be a key: it is empty, there twice,"),
        ('optimizer={"name": adam}', "the value of optimizer, line 1: `adam` is not static"),
        (
            'search={"lr=": [1]}',
            "the value of search, line 1: 'lr=' can't be a key: it is empty, there twice, or has =.",
        ),
    ],
)
def test_a_dict_that_can_be_no_value_is_refused_for_what_is_wrong_in_it(change: str, says: str) -> None:
    with pytest.raises(Refused, match=re.escape(says)):
        config.parse_change(change)


@pytest.mark.parametrize("text", ["a, b", "[draft]", "{x}", "f(x)", "1 / 0", "9**99999"])
def test_words_that_look_like_code_are_a_string(text: str) -> None:
    assert config.parse_change(f"text={text}") == ("text", text)


def test_an_unknown_setting_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(Refused, match=r"Did you mean 'optimizer.lr'\?(.|\n)*epochs, "):
        config.edit(SOURCE, {"optimizer.lrr": 1.0})


@pytest.mark.parametrize(
    "line",
    ["import os", "x = open('f')", "x = y", "x = [i for i in (1,)]", "x = f'{1}'", "x = b'a'", "x = 1j", "x = {1: 2}",
     "x = {'a.b': 1}", "x = {'a': 1, 'a': 2}", "x = {**{}}", "x = [*()]", "x = 'a' * 10**9", "x = 9**99999",
     "x = 1 << 9",
     "x = 1 if 1 else 2", "x += 1", "x, y = 1, 2", "x = y = 1", "x: int", "def f(): pass", "x.y = 1", "x[0] = 1",
     "print(1)", "'text'", "x = ...", "x = lambda: 1", "x = (y := 1)", "x = {1, 2}", "x = -'a'", "x = 1 / 0",
     "x = 1\nx = 2",
     "x = (-1)**0.5", "x = 1 < 2", "x = not 'a'", "x = 1 % 0", "x = 1e308 * 10**300 ** 1"],
)  # fmt: skip
def test_what_is_not_static_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(Refused, match=r"code/config.py, line [45]"):
        config.read(f"a = 1\n\n\n{line}\n".encode())


# -- properties --------------------------------------------------------------------------------------------------------

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_KEY = _TEXT.filter(lambda text: text != "" and not set(text) & set(".="))
_NUMBER = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False)
_VALUE = st.recursive(
    _NUMBER | st.booleans() | st.none() | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_KEY, inner, max_size=3).map(lambda part: {"name": "x", **part})
    ),
    max_leaves=6,
)
_COMMENT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=10)


@settings(max_examples=300, deadline=None)
@given(
    _VALUE, _COMMENT, _COMMENT, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["None", "{'a': {'b': None}, 'c': 1}"])
)
def test_an_edit_reads_back_and_keeps_all_else(value: object, first: str, second: str, end: str, old: str) -> None:
    name = "x" if old == "None" else "x.a.b"
    head = f"# {first}{end}é = 'ü'  # {first}{end}"
    tail = f"  # {second}{end}{end}z = 1  # {second}"
    source = f"{head}x = {old}{tail}".encode()
    edited = config.edit(source, {name: value})
    start = f"{head}x = {old.partition('None')[0]}".encode()
    stop = f"{old.partition('None')[2]}{tail}".encode()
    assert edited.startswith(start)
    assert edited.endswith(stop)
    found = config.read(edited)["x"]
    assert repr(found if old == "None" else found["a"]["b"]) == repr(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="replace")))
def test_random_bytes_are_read_or_refused(source: bytes) -> None:
    try:
        read = config.read(source)
    except Refused:
        return
    assert isinstance(read, dict)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=30).map(lambda tail: b"epochs = 3  # " + tail), st.integers(0, 99))
def test_whatever_follows_stays_or_the_edit_is_refused(source: bytes, value: int) -> None:
    try:
        edited = config.edit(source, {"epochs": value})
    except Refused:
        return
    assert edited == source.replace(b"3", str(value).encode(), 1)


@settings(max_examples=300, deadline=None)
@given(_TEXT)
def test_any_words_are_a_change_or_refused(words: str) -> None:
    try:
        name, value = config.parse_change(words)
    except Refused:
        return
    assert words.startswith(name) or words.strip().startswith(name)
    assert not isinstance(value, ast.AST)


@settings(max_examples=300, deadline=None)
@given(_TEXT)
def test_any_text_can_be_given_to_a_string_setting(text: str) -> None:
    try:
        edited = config.edit(b"name = 'a'\n", {"name": text})
    except Refused:
        return
    assert config.read(edited) == {"name": text}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_a_config_in_another_encoding_is_edited_rightly_or_refused(encoding: str) -> None:
    source = f"# -*- coding: {encoding} -*-\nname = 'ü'  # é\nepochs = 3\n".encode(encoding)
    try:
        edited = config.edit(source, {"epochs": 4})
    except Refused:
        return
    assert edited == source.replace(b"3", b"4")


@pytest.mark.parametrize(
    "value", ["(" * 2000 + "1" + ")" * 2000, "-" * 5000 + "1", "1" + "+1" * 5000, "[" * 90 + "]" * 90, "9" * 5000]
)
def test_a_config_that_python_can_hardly_read_is_read_or_refused(value: str) -> None:
    try:
        config.read(f"x = {value}".encode())
    except Refused:
        return
