"""Which recordings are held out: by recording, never by image, since windows of one recording overlap."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from gan.data.labels import compile_pattern
from gan.errors import InputError
from gan.seed import derive_seed


def matching(recordings: Sequence[str], pattern: str) -> set[str]:
    """The recordings whose name a regular expression is found in.

    Args:
        recordings: Names, with repetitions.
        pattern: The expression.

    Raises:
        InputError: If it is none, or fits no recording or all of them.
    """
    compiled = compile_pattern("validation", pattern)
    names = set(recordings)
    found = {name for name in names if compiled.search(name)}
    if not found or found == names:
        raise InputError(
            f"data.validation is {pattern!r}, which is found in {'all' if found else 'none'} of the {len(names)} "
            f"recordings, named like {min(names)!r}; it must fit those that are not trained on, and no others"
        )
    return found


def random_share(recordings: Sequence[str], classes: Sequence[str], fraction: float, seed: int) -> set[str]:
    """A share of the recordings, drawn at random, but never the last one of a class.

    Each recording's place in the order depends on its own name only, so new ones do not move old ones across.

    Args:
        recordings: The recording of each image.
        classes: The class of each image; one and the same if there are no labels.
        fraction: Share of the recordings, rounded up.
        seed: Seed of the draw.
    """
    shown = defaultdict(set)
    for recording, name in zip(recordings, classes, strict=True):
        shown[recording].add(name)
    left = Counter(name for names in shown.values() for name in names)
    held_out: set[str] = set()
    for recording in sorted(shown, key=lambda name: derive_seed(seed, name)):
        if len(held_out) < math.ceil(fraction * len(shown)) and all(left[name] > 1 for name in shown[recording]):
            held_out.add(recording)
            left.subtract(shown[recording])
    return held_out
