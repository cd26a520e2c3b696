"""A command line with an option for the phase."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

from gan.nulls import refuse_nulls


def parse_with_phase(parser: ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    """Parse a command line; --phase becomes the method that it names."""
    if any(argument.split("=")[0] == "--phase" for argument in arguments):
        # Else a method that is named would take over the options of the one that it replaces.
        parser.set_defaults({"phase": None})
    parsed = parser.parse_args(list(arguments))
    refuse_nulls(parser, parsed)
    return {**parsed.as_dict(), "phase": parser.instantiate(parsed).phase}
