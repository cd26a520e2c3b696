"""`null` where an option must have a value: jsonargparse lets it through, wherever it does not come as text."""

import inspect
from argparse import SUPPRESS
from collections.abc import Iterator
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from gan.errors import InputError

if TYPE_CHECKING:
    from argparse import Action

    from jsonargparse import ArgumentParser, Namespace

_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def refuse_nulls(parser: "ArgumentParser", config: "Namespace") -> None:
    """Refuse options that are null and cannot be, those of classes that the configuration names with them.

    Args:
        parser: What has parsed the configuration.
        config: The configuration, not instantiated.

    Raises:
        InputError: If there is one; names it, what it may be and what it is by default.
    """
    for name, place, action in _nulls(parser, config):
        if action.default == SUPPRESS:
            raise InputError(f"{name} is null, where its options were expected; leave it out, or give some of them")
        # What a class needs and gets later, from a link, has no default.
        if action.default is not None and not _may_be_null(place, action.dest):
            default = parser.get_defaults().get(name)
            default = action.default if default is None else default
            raise InputError(
                f"{name} is null; it must be {_in_words(getattr(action, '_typehint', action.type))}, "
                f"the default is {default}"
            )


def _nulls(
    parser: "ArgumentParser", config: "Namespace", within: str = ""
) -> Iterator[tuple[str, "ArgumentParser", "Action"]]:
    """Options that are null: their whole names, the parsers that know them, and what these know."""
    for action in parser._actions:
        if action.dest not in config:
            continue
        name, value = within + action.dest, config[action.dest]
        if value is None:
            yield name, parser, action
        for number, each in enumerate(value if isinstance(value, list) else [value]):
            if hasattr(each, "class_path") and hasattr(each, "init_args"):
                place = f"{name}[{number}]" if isinstance(value, list) else name
                yield from _nulls(_parser_of(each.class_path), each.init_args, f"{place}.init_args.")


def _parser_of(class_path: str) -> "ArgumentParser":
    from jsonargparse import ArgumentParser

    named = resolve_name(class_path)
    parser = ArgumentParser(exit_on_error=False)
    if inspect.isclass(named):
        parser.add_class_arguments(named, fail_untyped=False)
    else:
        parser.add_function_arguments(named, fail_untyped=False)
    return parser


def _may_be_null(parser: "ArgumentParser", option: str) -> bool:
    from jsonargparse import Namespace

    alone = Namespace()  # type: ignore[no-untyped-call]
    alone[option] = None
    try:
        parser.validate(alone, skip_unset=False, skip_required=True)
    except TypeError:
        return False
    return True


def _in_words(kind: Any) -> str:
    """What a type allows."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_in_words(each) for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if kind in _WORDS:
        return _WORDS[kind]
    return kind.__name__ if inspect.isclass(kind) and not get_args(kind) else str(kind).replace("typing.", "")
