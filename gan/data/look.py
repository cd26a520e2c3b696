"""What figures look like, and which of them look different from the rest."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from gan.data.kind import Kind

_MAX_LINES = 20


class Look(NamedTuple):
    """What a figure looks like.

    Attributes:
        traits: Names and values of what was found in it, its size and its number of frames included.
        guesses: Names of those that were guessed.
        notes: What else is to be said about it.
    """

    traits: tuple[tuple[str, str], ...]
    guesses: tuple[str, ...]
    notes: tuple[str, ...]


def look_of(kind: Kind, n_frames: int) -> Look:
    """The look of a figure of which this was found, so many frames wide."""
    traits = {"frames": str(n_frames)}
    if kind.size is not None:
        traits["picture"] = f"{kind.size[0]} x {kind.size[1]}"
    traits |= {finding.name: finding.value for finding in kind.findings}
    return Look(tuple(traits.items()), tuple(finding.name for finding in kind.guesses), kind.warnings)


def odd_ones(looks: Mapping[str, Look]) -> list[str]:
    """What is different about the figures that do not look like most of them.

    Args:
        looks: The look of each figure by its file.

    Returns:
        One line a figure, 20 at most and one that counts the others.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for look in looks.values():
        for name, value in look.traits:
            counts[name][value] += 1
    most = {name: values.most_common(1)[0][0] for name, values in counts.items()}
    # What is said of most figures says nothing about one of them.
    n_said = Counter(note for look in looks.values() for note in look.notes)
    lines = []
    for file, look in looks.items():
        strange = [
            f"{name} {value} (most: {most[name]}{'; a guess' if name in look.guesses else ''})"
            for name, value in look.traits
            if value != most[name]
        ]
        strange += [note for note in look.notes if 2 * n_said[note] <= len(looks)]
        if strange:
            lines.append(f"{file}: {', '.join(strange)}")
    return lines[:_MAX_LINES] + ([f"and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else [])
