"""Plain data becomes what annotations say, or a line that says where it does not."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pytest

from gan.errors import InputError, one_line
from gan.plain import made_of


class Pair(NamedTuple):
    name: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", 1]
    level: float | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner
    pairs: list[Pair]
    size: tuple[int, int] | None
    names: dict[str, bool]
    anything: Any = None
    more: list[float] = field(default_factory=list)


GOOD = {"inner": {"kind": "a", "level": 3}, "pairs": [["b", [1, 2]]], "size": [3, 4], "names": {"c": True}}


def test_what_is_made():
    assert made_of(Outer, GOOD, "it") == Outer(Inner("a", 3), [Pair("b", (1, 2))], (3, 4), {"c": True})
    more = GOOD | {"inner": {"kind": 1}, "size": None, "anything": {"x": [object]}, "more": [1, 2.5]}
    made = made_of(Outer, more, "it")
    assert made.inner == Inner(1)
    assert made.anything == {"x": [object]}
    assert made.more == [1, 2.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner": 3}, "it.inner is 3, a mapping was expected"),
        ({"inner": {}}, "it.inner has no kind"),
        ({"inner": {"kind": "a", "x": 1}}, "it.inner has 'x', which is unknown"),
        ({"inner": {"kind": True}}, "it.inner.kind is True, 'a' or 1 was expected"),
        ({"inner": {"kind": []}}, "it.inner.kind is a list of 0, 'a' or 1 was expected"),
        ({"inner": {"kind": "a", "level": "loud"}}, "it.inner.level is 'loud', a number or nothing was expected"),
        ({"inner": {"kind": "a", "level": True}}, "it.inner.level is True, a number or nothing was expected"),
        ({"inner": {"kind": "a", "level": float("nan")}}, "it.inner.level is nan, a number or nothing was expected"),
        (
            {"inner": {"kind": "a", "level": 10**400}},
            "it.inner.level is a huge number, a number or nothing was expected",
        ),
        ({"pairs": {}}, "it.pairs is a mapping, a list was expected"),
        ({"pairs": [["b"]]}, "it.pairs[0] is a list of 1, one of 2 was expected"),
        ({"pairs": [["b", [1, 2.0]]]}, "it.pairs[0][1] is 2.0, a whole number was expected"),
        ({"size": [1, 2, 3]}, "it.size is a list of 3, one of 2 was expected"),
        ({"size": [1, None]}, "it.size[1] is None, a whole number was expected"),
        ({"names": {"c": 1}}, "it.names.c is 1, true or false was expected"),
        ({"names": {1: True}}, "it.names is a mapping, a mapping was expected"),
        ({"more": [1.0, float("-inf")]}, "it.more is -inf, a number was expected"),
        ({"names": object()}, "it.names is a object, a mapping was expected"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(InputError) as caught:
        made_of(Outer, GOOD | changes, "it")
    assert str(caught.value) == message


def test_long_values_are_not_shown():
    bomb: list[Any] = ["x"] * 9
    for _ in range(12):
        bomb = [bomb] * 9
    with pytest.raises(InputError, match="it is a list of 9, text was expected"):
        made_of(str, bomb, "it")
    with pytest.raises(InputError, match=r"it is 'x{60}', a whole number was expected"):
        made_of(int, "x" * 10**6, "it")


def test_one_line():
    assert one_line("Größe of  a.wav, 夜") == "Größe of  a.wav, 夜"
    assert one_line("first:\n  second\r\n\tthird\n") == "first: second third"
    assert one_line("a\x1b[2J\x07b\u202e\udcff") == r"a\x1b[2J\x07b\u202e\udcff"
    assert str(InputError("a\nb\0")) == r"a b\x00"


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (list[int], [1, 10**400, 2], "it is a huge number, a whole number was expected"),
        (list[int], [1, -(10**400)], "it is a huge number, a whole number was expected"),
        (list[int], [1, 2.0], "it is 2.0, a whole number was expected"),
        (list[int], [1, True], "it is True, a whole number was expected"),
        (list[float], [0.0, float("nan"), 1.0], "it is nan, a number was expected"),
        (list[float], [0.0, -float("inf")], "it is -inf, a number was expected"),
        (list[float | None], [None, 1, float("nan")], "it is nan, a number or nothing was expected"),
        (list[str], ["a", 1], "it is 1, text was expected"),
    ],
)
def test_long_lists_are_checked_all_at_once(kind, values, said):
    with pytest.raises(InputError) as error:
        made_of(kind, values, "it")
    assert str(error.value) == said
    assert made_of(kind, values[:1] * 1000, "it") == values[:1] * 1000
