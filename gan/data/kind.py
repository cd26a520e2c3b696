"""What the images of a store have in common."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gan.errors import InputError
from gan.plain import made_of
from gan.sound.figure.figure import Finding
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings

# What a figure shows and its options can say.
_SHOWN = frozenset({"box", "colormap", "frames", "n_fft", "y_axis"})
# A finding that is less certain is a guess.
_DOUBTFUL = 0.5


@dataclass(frozen=True)
class Kind:
    """What the images of a store have in common: one grid, and for figures what was found in one of them.

    Attributes:
        settings: The grid of all images of the store.
        findings: What was found in a figure like most of them; none for images of `gan encode`.
        warnings: What was to be said about that figure.
        options: Options that say all that was found in it; None for images of `gan encode`.
        size: Width and height of its picture in pixels; None for images of `gan encode` and for arrays.
    """

    settings: SpectrogramSettings
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    options: FigureOptions | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, also after it was JSON."""
        made: Self = made_of(cls, values, "kind")
        return made

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return dataclasses.asdict(self)

    @property
    def guesses(self) -> tuple[Finding, ...]:
        """What was guessed, or taken as usual, though figures show it."""
        return tuple(
            finding
            for finding in self.findings
            if finding.name in _SHOWN and (finding.confidence is None or finding.confidence < _DOUBTFUL)
        )

    def guesses_against(self, other: Self) -> list[Finding]:
        """Guesses that are something else in another figure."""
        values = {finding.name: finding.value for finding in other.findings}
        return [finding for finding in self.guesses if values.get(finding.name, finding.value) != finding.value]


def kind_of_most(kinds: Sequence[Kind]) -> Kind:
    """The kind of most figures: of those that agree with most in settings, size and colours, the least doubtful."""
    settings, _ = Counter(kind.settings for kind in kinds).most_common(1)[0]
    alike = [kind for kind in kinds if kind.settings == settings]
    drawn, _ = Counter(_drawn(kind) for kind in alike).most_common(1)[0]
    return max((kind for kind in alike if _drawn(kind) == drawn), key=_certainty)


def _drawn(kind: Kind) -> tuple[object, ...]:
    return kind.size, *(finding.value for finding in kind.findings if finding.name in ("colormap", "y_axis"))


def _certainty(kind: Kind) -> float:
    return min((finding.confidence or 0.0 for finding in kind.findings if finding.name in _SHOWN), default=0.0)


def differing(settings: SpectrogramSettings, expected: SpectrogramSettings) -> list[str]:
    """Names of the settings that differ."""
    values = settings.to_dict()
    return [name for name, value in expected.to_dict().items() if values[name] != value]


def left_out(path: Path, settings: SpectrogramSettings, kind: Kind) -> InputError:
    """The line for an image whose settings are not the store's."""
    found, expected = settings.to_dict(), kind.settings.to_dict()
    names = differing(settings, kind.settings)
    return InputError(
        f"{path}: {', '.join(f'{name} is {found[name]}' for name in names)}, but most images of its folder have "
        f"{', '.join(f'{name} {expected[name]}' for name in names)}; give it a folder of its own"
    )


def common_settings(found: Mapping[str, SpectrogramSettings]) -> SpectrogramSettings:
    """The settings of images of `gan encode`, given by file.

    Raises:
        InputError: If they differ.
    """
    files: dict[SpectrogramSettings, list[str]] = {}
    for file, settings in found.items():
        files.setdefault(settings, []).append(file)
    if len(files) > 1:
        one, *others = files
        names = sorted({name for other in others for name in differing(other, one)}, key=list(one.to_dict()).index)
        kinds = "; ".join(
            f"{len(alike)} like {alike[0]}: " + ", ".join(f"{name} {getattr(settings, name)}" for name in names)
            for settings, alike in files.items()
        )
        raise InputError(f"the images were made with different settings ({kinds}); keep one kind in the folder")
    return next(iter(files))
