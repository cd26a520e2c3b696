"""The command line of a verb of `gan`, without its arguments."""

from collections.abc import Callable

from jsonargparse import ArgumentParser

from gan.refusing import Refusing


class Parser(Refusing, ArgumentParser):
    """Says what is wrong in one line."""


def parser_of(verb: Callable[..., int]) -> Parser:
    """A parser, without arguments yet, that has name and description of the function that does what is asked."""
    return Parser(prog=f"gan {verb.__name__}", description=(verb.__doc__ or "").split("Args:")[0])
