"""The channel of a recording that is read: a plain value, of command lines and of images."""

from typing import Literal

from gan.errors import InputError

# "mix", a side, or the number of a channel, from 1.
Channel = Literal["mix", "left", "right"] | int
MIX: Literal["mix"] = "mix"

# The speaker of each side.
SIDES = {"left": "L", "right": "R"}


def check_channel(channel: str | int) -> None:
    """Refuse what is no channel.

    Raises:
        InputError: If it is none.
    """
    if channel not in (MIX, *SIDES) and (isinstance(channel, str | bool) or channel < 1):
        raise InputError(f"channel is {channel}; it must be mix, left, right, or a number from 1 on")
