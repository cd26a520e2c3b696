"""`null` where an option must have a value: jsonargparse lets it through, wherever it does not come as text."""

import inspect
from collections.abc import Iterator
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from gan.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def refuse_nulls(parser: "ArgumentParser", config: "Namespace") -> None:
    """Refuse options that are null and cannot be, those of classes that the configuration names with them.

    So are groups of options that are null or anything else that holds no options.

    Args:
        parser: What has parsed the configuration.
        config: The configuration, not instantiated.

    Raises:
        InputError: If there is one; names it, what it may be and what it is by default.
    """
    for within, level, options in _levels(parser, config):
        for group in level.groups or ():
            if group in options and not isinstance(options[group], type(config)):
                raise InputError(
                    f"{in_place_of_options(within + group, options[group])}; leave it out, or give some of them"
                )
        for action in level._actions:
            is_null = action.dest in options and options[action.dest] is None
            # What a class needs and gets later, from a link, has no default.
            if is_null and action.default is not None and not _may_be_null(level, action.dest):
                name = within + action.dest
                default = parser.get_defaults().get(name)
                default = action.default if default is None else default
                raise InputError(
                    f"{name} is null; it must be {_in_words(getattr(action, '_typehint', action.type))}, "
                    f"the default is {default}"
                )


def in_place_of_options(group: str, found: Any) -> str:
    """What is wrong with a group of options that is null, or holds none.

    Args:
        group: Its name.
        found: What it is.
    """
    return f"{group} is {'null' if found is None else f'{found!r:.60}'}, where its options were expected"


def _levels(
    parser: "ArgumentParser", config: "Namespace", within: str = ""
) -> Iterator[tuple[str, "ArgumentParser", "Namespace"]]:
    """A configuration and the options of classes in it: what stands before their names, what knows them, and they."""
    yield within, parser, config
    for action in parser._actions:
        value = config.get(action.dest)
        for number, each in enumerate(value if isinstance(value, list) else [value]):
            if hasattr(each, "class_path") and hasattr(each, "init_args"):
                place = f"[{number}]" if isinstance(value, list) else ""
                inner = f"{within}{action.dest}{place}.init_args."
                yield from _levels(_parser_of(each.class_path), each.init_args, inner)


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
