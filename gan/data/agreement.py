"""What the images of a folder have in common, found out from a few of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from gan.data.kind import Kind, kind_of_most
from gan.data.source import Decoded, Outcome, Source, read_source
from gan.errors import InputError
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings

# Figures that are looked at to see what most of them are like.
_N_PROBES = 5
# Figures that cannot be read, without one that can, after which the others are not tried: something has to be given.
_MAX_FAILURES = 50


def agree(
    images: Path, sources: list[Source], encoded: Kind | None, read: Callable[[list[Source]], Mapping[str, Outcome]]
) -> tuple[Kind, dict[str, Outcome]]:
    """What the images have in common, and what became of those that were read to find it out.

    Args:
        images: The folder, for messages.
        sources: Its files.
        encoded: What its images of `gan encode` have in common; None if it has none.
        read: Reads some figures, and gives what became of each file.

    Raises:
        InputError: If nothing can be read.
    """
    outcomes: dict[str, Outcome] = {}
    if encoded is not None and _encoded_lead(sources):
        return encoded, outcomes
    left = _spread([source for source in sources if source.is_figure])
    kinds: list[Kind] = []
    while left and len(kinds) < _N_PROBES and (kinds or len(outcomes) < _MAX_FAILURES):
        chosen, left = left[: _N_PROBES - len(kinds)], left[_N_PROBES - len(kinds) :]
        outcomes |= read(chosen)
        # In the order of the files, not in that of completion.
        found = [outcomes[source.file] for source in chosen]
        kinds += [outcome.kind for outcome in found if isinstance(outcome, Decoded)]
    if kinds:
        return kind_of_most(kinds), outcomes
    if encoded is not None:
        return encoded, outcomes
    if left:
        raise InputError(
            f"{images}: of {len(outcomes) + len(left)} figures {len(outcomes)} were tried, and none can be read; "
            f"{outcomes[min(outcomes)]}"
        )
    raise none_usable(images, {source.file: str(outcomes.get(source.file, source.problem)) for source in sources})


def still_agreed(kind: Kind, sources: list[Source], encoded: Kind | None) -> bool:
    """Whether what was agreed on when a build began is what these files would agree on.

    Args:
        kind: What was agreed on.
        sources: The files.
        encoded: What images of `gan encode` have in common; None if there are none.
    """
    return kind == encoded if _encoded_lead(sources) else kind.options is not None


def settings_of_one(images: Path, sources: list[Source], options: FigureOptions) -> SpectrogramSettings:
    """Settings of one image that can be read, and is likely to be as most are.

    Args:
        images: The folder, for messages.
        sources: Its files.
        options: How to read figures.

    Raises:
        InputError: If none can be read.
    """
    skipped = {}
    leading = _encoded_lead(sources)
    for source in sorted(_spread(sources), key=lambda source: source.is_figure == leading):
        if source.settings is not None:
            return source.settings
        outcome = read_source(source, options)
        if isinstance(outcome, Decoded):
            return outcome.kind.settings
        skipped[source.file] = str(outcome)
    raise none_usable(images, skipped)


def none_usable(images: Path, skipped: Mapping[str, str]) -> InputError:
    """The line for a folder of which no file can be used, given what is wrong with each."""
    reason = next(iter(skipped.values()), "they cannot be opened")
    return InputError(f"{images}: none of its {len(skipped)} images can be used; {reason}")


def _encoded_lead(sources: list[Source]) -> bool:
    """Whether images of `gan encode` say what the store's settings are: if there are at least as many as figures."""
    return 2 * sum(not source.is_figure for source in sources) >= len(sources)


def _spread(sources: list[Source]) -> list[Source]:
    """In an order that is spread over the folder, and always the same: the first window of a recording is quiet."""
    return [sources[index] for index in np.random.default_rng(0).permutation(len(sources))]
