"""Which recordings are held out: by recording, never by image, since windows of one recording overlap."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from gan.data.labels import compile_pattern
from gan.errors import InputError
from gan.seed import derive_seed


def split(
    recordings: Sequence[str], classes: Sequence[str], validation: str | None, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """The images to train on and those to validate with.

    Args:
        recordings: The recording of each image.
        classes: The class of each image; empty if there are no labels.
        validation: A regular expression that is found in the names of the recordings that are held out.
        fraction: Share of the recordings that is held out if there is no such expression.
        seed: Seed of the draw of that share.

    Returns:
        Indices of images, in order.

    Raises:
        InputError: As of `matching`.
    """
    if validation is not None:
        held_out = matching(recordings, validation)
    else:
        held_out = random_share(recordings, classes or [""] * len(recordings), fraction, seed)
    parts: tuple[list[int], list[int]] = [], []
    for index, recording in enumerate(recordings):
        parts[recording in held_out].append(index)
    return parts


def notes_on_share(
    n_frames: Sequence[int], train: Sequence[int], validation: Sequence[int], fraction: float
) -> list[str]:
    """What a user may not expect of a share that was held out: with few recordings it is more than was asked for.

    Args:
        n_frames: Width of each image.
        train: Images to train on.
        validation: Images that are held out.
        fraction: The share that was asked for.
    """
    held_out, trained = (sum(n_frames[index] for index in part) for part in (validation, train))
    share = held_out / (held_out + trained)
    if share <= max(0.1, 2 * fraction):
        return []
    return [
        f"{share:.0%} of what was recorded is held out for validation, as there are few recordings; to train on all "
        "of it, set data.validation_fraction to 0"
    ]


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
