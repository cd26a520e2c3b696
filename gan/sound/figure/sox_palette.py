"""Colours of SoX's spectrograms."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

# SoX's options -p1 to -p6 (order of the colours), alone, with -h (more colours) and with -h -m (tinted greys).
NAMES = tuple(f"sox{high}{order}" for high in ("", "_h", "_hm") for order in ("", "_p2", "_p3", "_p4", "_p5", "_p6"))
# Colours between the one for what is quieter than the range and the one for 0 dBFS and more (-q 249).
N_COLOURS = 249


@cache
def palette(name: str) -> NDArray[np.float32]:
    """Colours of one of NAMES or "gray" (SoX 14.4.2, spectrogram.c), lowest level first, shape (249, 3), 0 to 255."""
    steps = np.arange(1, N_COLOURS + 1) / (N_COLOURS + 1)
    order = int(name[-1]) - 1 if "_p" in name else 0
    if name == "gray" or "_hm" in name:
        colours = steps[:, None].repeat(3, axis=1)
        tinted = [] if name == "gray" else [(1 + order) % 3, (2 + order) % 3][: 2 if order < 3 else 1]
        colours[:, tinted] = np.maximum(0, (colours[:, tinted] - 0.4) * 5 / 3)
    else:
        turned = order % 2
        channels = [order % 3, (1 + order + turned) % 3, (2 + order - turned) % 3]
        curve = _many_colours if "_h" in name else _few_colours
        colours = np.array([curve(step) for step in steps])[:, channels]
    return np.floor(0.5 + 255 * colours).astype(np.float32)


def _few_colours(x: float) -> tuple[float, float, float]:
    red = 0.0 if x < 0.13 else math.sin((x - 0.13) / 0.6 * math.pi / 2) if x < 0.73 else 1.0
    green = 0.0 if x < 0.6 else math.sin((x - 0.6) / 0.31 * math.pi / 2) if x < 0.91 else 1.0
    blue = 0.5 * math.sin(x / 0.6 * math.pi) if x < 0.6 else 0.0 if x < 0.78 else (x - 0.78) / 0.22
    return red, green, blue


def _many_colours(x: float) -> tuple[float, float, float]:
    phase = min(int(7 * x), 6)
    rest = 7 * x - phase
    rising, falling = math.sin(rest * math.pi / 2), math.cos(rest * math.pi / 2)
    curves = (0.0, 1.0, rising, falling, rest, 1 - rest)
    red, green, blue = (
        curves[states[phase]] for states in ((4, 5, 0, 0, 2, 1, 1), (0, 0, 2, 1, 1, 3, 2), (4, 1, 1, 3, 0, 0, 2))
    )
    return red, green, blue
