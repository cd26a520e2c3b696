"""Plain data, as JSON, YAML and checkpoints hold it, checked against the annotations of what is made of it."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gan.errors import InputError

_SCALARS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "nothing",
}
# Beyond that a number is nobody's, and overflows where it is used.
_MOST = 1e300
_NUMBERS = {int, float}
# Whole numbers above that are not written out for people.
_MOST_SHOWN = 10**18
# Values of one file, and letters of a text that count as one.
_MOST_UNFOLDED, _LETTERS = 100_000, 100


def made_of(kind: Any, value: Any, name: str) -> Any:
    """Make something of plain data: a dataclass of a mapping, a named tuple or a tuple of a list, and what they hold.

    Args:
        kind: What to make: also `list[...]`, `dict[str, ...]`, a Literal, a plain type, or one of them or None. NaN
            and infinity are no numbers, and neither are True and False.
        value: What stands in a file.
        name: What it is, for messages.

    Raises:
        InputError: If it is something else, or a field is missing or unknown.
    """
    if kind is Any:
        return value
    if scalars := _scalars(kind):
        _check_all(scalars, [value], name)
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (kind,) = (each for each in arguments if each is not NoneType)
        return None if value is None else made_of(kind, value, name)
    if origin is Literal:
        if not any(type(value) is type(possible) and value == possible for possible in arguments):
            raise _unexpected(name, value, " or ".join(map(repr, arguments)))
        return value
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _unexpected(name, value, "a mapping")
        return {key: made_of(arguments[1], each, f"{name}.{key}") for key, each in value.items()}
    return _dataclass(kind, value, name) if dataclasses.is_dataclass(kind) else _sequence(kind, value, name)


def shown(value: Any, most: int = 100) -> str:
    """A value of anybody's file for people: short, whatever it is.

    Args:
        value: What stands in the file.
        most: Letters of a text.
    """
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}…"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool | None) or (isinstance(value, int) and abs(value) < _MOST_SHOWN):
        return str(value)
    return _shown(value) if not isinstance(value, int) else "a huge number"


def check_unfolded(value: Any, name: str) -> None:
    """Refuse plain data that is small in its file and huge when it is written out, as YAML's aliases allow.

    Args:
        value: What stands in the file.
        name: What it is, for messages.

    Raises:
        InputError: If it has more than a hundred thousand parts, each counted as often as it is named, or holds itself.
    """
    if _n_unfolded(value, {}) > _MOST_UNFOLDED:
        raise InputError(
            f"{name}: its aliases unfold to more than {_MOST_UNFOLDED} values, which no configuration has; write out "
            "what is meant"
        )


def _n_unfolded(value: Any, known: dict[int, float]) -> float:
    if isinstance(value, str):
        return 1 + len(value) / _LETTERS
    if not isinstance(value, dict | list | tuple):
        return 1
    if id(value) not in known:
        # Found again while its parts are counted, it is one of them.
        known[id(value)] = math.inf
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_n_unfolded(each, known) for each in parts)
    return known[id(value)]


def _dataclass(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise _unexpected(name, value, "a mapping")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := [key for key in value if key not in fields]:
        raise InputError(f"{name} has {_shown(unknown[0])}, which is unknown")
    without = (dataclasses.MISSING, dataclasses.MISSING)
    for key, field in fields.items():
        if key not in value and (field.default, field.default_factory) == without:
            raise InputError(f"{name} has no {key}")
    hints = get_type_hints(kind)
    return kind(**{key: made_of(hints[key], each, f"{name}.{key}") for key, each in value.items()})


def _sequence(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _unexpected(name, value, "a list")
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list or arguments[1:] == (...,):
        items = _all_made(arguments[0], value, name)
        return items if origin is list else tuple(items)
    kinds = arguments or tuple(get_type_hints(kind).values())
    if len(value) != len(kinds):
        raise _unexpected(name, value, f"one of {len(kinds)}")
    items = [made_of(kinds[place], each, f"{name}[{place}]") for place, each in enumerate(value)]
    return tuple(items) if arguments else kind(*items)


def _all_made(kind: Any, values: Sequence[Any], name: str) -> list[Any]:
    if scalars := _scalars(kind):
        # All at once: an index has hundreds of thousands of them.
        _check_all(scalars, values, name)
        return list(values)
    return [made_of(kind, each, f"{name}[{place}]") for place, each in enumerate(values)]


def _check_all(kinds: frozenset[Any], values: Sequence[Any], name: str) -> None:
    possible = kinds | {int} if float in kinds else kinds
    found = set(map(type, values))
    wrong: Any = [each for each in values if type(each) not in possible] if found - possible else []
    if not wrong and found & _NUMBERS:
        numbers = values if found <= _NUMBERS else [each for each in values if type(each) in _NUMBERS]
        if found == {int}:
            numbers = [min(values), max(values)]
        # Without a line of Python for each number; nothing is more than NaN.
        if not all(map(_MOST.__gt__, map(abs, numbers))):
            wrong = [each for each in numbers if not abs(each) < _MOST]
    if wrong:
        raise _unexpected(name, wrong[0], " or ".join(text for kind, text in _SCALARS.items() if kind in kinds))


@cache
def _scalars(kind: Any) -> frozenset[Any]:
    """The plain types that a kind allows; none if it allows anything else."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return frozenset(kinds) if set(kinds) <= set(_SCALARS) else frozenset()


def _unexpected(name: str, value: Any, expected: str) -> InputError:
    return InputError(f"{name} is {_shown(value)}, {expected} was expected")


def _shown(value: Any) -> str:
    """A value for a message. What may be long is named only: the text of a few lists in lists can fill the memory."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, bool | float | None) or (isinstance(value, int) and abs(value) < _MOST):
        return repr(value)
    names: dict[Any, str] = {dict: "a mapping", list: f"a list of {len(value) if isinstance(value, list) else 0}"}
    return names.get(type(value), "a huge number" if isinstance(value, int) else f"a {type(value).__name__}")
