"""Channels of a recording to one: which speaker each one is for, its weight in the mix, and what the mix loses."""

import math
import re
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from gan.errors import InputError, one_line
from gan.sound.channel import MIX, SIDES, check_channel

# ITU-R BS.775-3 mixes 5.1 down to stereo as L + 0.707 C + 0.707 Ls and R + 0.707 C + 0.707 Rs, without the LFE. The
# mono mix is the mean of the two, as that of a stereo recording is; up to a factor, it is that recommendation's own
# mono mix, 0.707 L + 0.707 R + C + 0.5 Ls + 0.5 Rs.
_FRONT, _CENTER, _SURROUND, _BACK_CENTER = 0.5, math.sqrt(0.5), math.sqrt(0.125), 0.5
_WEIGHTS = {
    **dict.fromkeys(("L", "R", "Lc", "Rc"), _FRONT),
    "C": _CENTER,
    "LFE": 0.0,
    "W": 1.0,
    **dict.fromkeys(("Lb", "Rb", "Ls", "Rs", "Tc", "Tl", "Tr", "Tlb", "Trb"), _SURROUND),
    **dict.fromkeys(("Cb", "Tf", "Tb"), _BACK_CENTER),
}
# Bits of the channel mask of WAVEFORMATEXTENSIBLE, the lowest first.
_MASK_BITS = (
    "L", "R", "C", "LFE", "Lb", "Rb", "Lc", "Rc", "Cb", "Ls", "Rs", "Tc", "Tl", "Tf", "Tr", "Tlb", "Tb", "Trb"
)  # fmt: skip
_MASK = re.compile(r"Channel Mask *: 0x([0-9A-Fa-f]+)")
_OPUS_MAPPING = re.compile(r"Channel Mapping *: (\d+)")
# RFC 9639, section 9.1.3, which is the order of the mask's bits.
_FLAC_LAYOUTS = {
    3: "L R C",
    4: "L R Lb Rb",
    5: "L R C Lb Rb",
    6: "L R C LFE Lb Rb",
    7: "L R C LFE Cb Ls Rs",
    8: "L R C LFE Lb Rb Ls Rs",
}
# Vorbis I, section 4.3.9; RFC 7845, section 5.1.1.2, for Opus.
_OGG_LAYOUTS = {
    3: "L C R",
    4: "L R Lb Rb",
    5: "L C R Lb Rb",
    6: "L C R Lb Rb LFE",
    7: "L C R Ls Rs Cb LFE",
    8: "L C R Ls Rs Lb Rb LFE",
}
# Numbers of channels that are hardly ever anything else than 5.1 and 7.1, where the file does not say.
_USUAL = {6: "5.1", 8: "7.1"}

# Power of the mix, relative to that of the channels if they had nothing to do with each other, below which they are
# said to cancel. It is 1 for independent channels, 2 for equal ones, and 0.5 for stereo of correlation -0.5.
_CANCELLED = 0.5
# Share of a recording's energy that has to be in such blocks: a moment of an effect is no fault.
_MIN_SHARE = 0.1
_MEASURED_FRAMES = 1 << 14
_SILENCE = 1e-12
_MOST_DB = 120.0


class Mixdown:
    """Takes one channel of a recording, or mixes them all, block by block, and measures what the mix loses.

    One or two channels, and those that nothing is known of, are mixed to their mean. Where each channel's speaker is
    known, the mix is the mean of ITU-R BS.775's stereo mix.

    Args:
        channel: "mix", "left", "right", or the number of a channel, from 1.

    Raises:
        InputError: If it is something else.
    """

    def __init__(self, channel: str | int = MIX) -> None:
        check_channel(channel)
        self.channel = channel
        self._index: int | None = None
        self._weights: NDArray[np.float32] | None = None
        self._layout: tuple[str, ...] = ()
        self._guess = ""
        self._path = Path()
        self._forget()

    def _forget(self) -> None:
        self._n_channels = 1
        self._sample_rate = 1
        self._n_frames = self._n_cancelled = 0
        # Sums of squares: of all channels, in all blocks; of them and of the mix, in blocks where they cancel.
        self._energy = self._cancelled = self._left = 0.0

    def start(self, path: Path, file: soundfile.SoundFile) -> None:
        """Find the channels of a file that was opened.

        Raises:
            InputError: If the channel that is asked for is not in it.
        """
        self._forget()
        self._path = path
        self._n_channels, self._sample_rate = file.channels, file.samplerate
        self._layout, self._guess = _layout_of(file)
        self._index = self._place()
        self._weights = None
        if self._layout:
            weights = np.array([_WEIGHTS.get(speaker, 0.0) for speaker in self._layout], np.float32)
            self._weights = weights if weights.any() else None

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """One channel of a block, shape (n_frames,), of all, shape (n_frames, n_channels)."""
        if self._index is not None:
            return np.ascontiguousarray(block[:, self._index])
        if self._weights is None:
            mix = np.ascontiguousarray(block.mean(axis=1, dtype=np.float32))
        else:
            mix = block @ self._weights
        if self._n_channels > 1:
            for start in range(0, len(block), _MEASURED_FRAMES):
                self._measure(block[start:][:_MEASURED_FRAMES], mix[start:][:_MEASURED_FRAMES])
        return mix

    def notes(self, option: str = "--channel") -> list[str]:
        """What is to be said of the mix of what was read, a line each; nothing of an ordinary one.

        Args:
            option: What a channel is chosen with, for the advice.
        """
        if self.channel != MIX:
            return []
        taken = f"{option} left or right takes one" if self._n_channels == 2 else f"{option} N takes one of them"
        found = [f"{self._guess}; {taken}"] if self._guess else []
        if self._n_cancelled and self._cancelled > _MIN_SHARE * self._energy:
            ratio = self._n_channels * self._left / self._cancelled
            down_db = -10.0 * math.log10(max(ratio, 10.0 ** (-_MOST_DB / 10.0)))
            seconds, of = self._n_cancelled / self._sample_rate, self._n_frames / self._sample_rate
            found.append(
                f"the mix is {down_db:.1f} dB quieter than its {self._n_channels} channels for {seconds:.1f} of "
                f"{of:.1f} s, because they cancel each other or are left out of it; {taken}"
            )
        return [one_line(f"{self._path}: {note}") for note in found]

    def _place(self) -> int | None:
        """Which channel is taken; None for the mix."""
        if self.channel == MIX or (self._n_channels == 1 and self.channel in SIDES):
            return None
        if isinstance(self.channel, int):
            if self.channel > self._n_channels:
                raise InputError(
                    f"{self._path}: channel {self.channel} of {self._n_channels} is not there; give a lower one, or mix"
                )
            return self.channel - 1
        layout = self._layout or (("L", "R") if self._n_channels == 2 else ())
        if SIDES[self.channel] not in layout:
            raise InputError(
                f"{self._path}: which of {self._n_channels} channels is {self.channel} is unknown; give its number"
            )
        return layout.index(SIDES[self.channel])

    def _measure(self, block: NDArray[np.float32], mix: NDArray[np.float32]) -> None:
        energies = np.einsum("ij,ij->j", block, block, dtype=np.float64)
        energy, left = float(energies.sum()), float(np.einsum("i,i->", mix, mix, dtype=np.float64))
        weights = np.full(self._n_channels, 1 / self._n_channels) if self._weights is None else self._weights
        self._n_frames += len(block)
        self._energy += energy
        unrelated = float((energies * weights.astype(np.float64) ** 2).sum())
        # Where hardly anything is in the channels that are mixed, it is in those that are left out.
        if energy > _SILENCE * len(block) and left <= max(_CANCELLED * unrelated, _SILENCE * energy):
            self._n_cancelled += len(block)
            self._cancelled += energy
            self._left += left


def _layout_of(file: soundfile.SoundFile) -> tuple[tuple[str, ...], str]:
    """The speaker of each channel, none where that makes no difference; and what is to be said of a guess."""
    n_channels, log = file.channels, file.extra_info
    if n_channels <= 2:
        return (), ""
    if "Ambisonic" in log:
        # The first channel is the sound from all sides; the others are differences, which are no sound by themselves.
        note = f"{n_channels} channels of ambisonics, of which the first one (W) is what is mixed"
        return ("W", *["difference"] * (n_channels - 1)), note
    if declared := _declared_layout(file):
        return declared, ""
    if n_channels in _USUAL:
        layout = _FLAC_LAYOUTS[n_channels]
        note = f"{n_channels} channels that the file does not name, mixed as {_USUAL[n_channels]} ({layout})"
        return tuple(layout.split()), f"{note}, without the LFE"
    return (), f"{n_channels} channels that the file does not name, mixed to their mean"


def _declared_layout(file: soundfile.SoundFile) -> tuple[str, ...]:
    """The speaker of each channel as the file, or its format, says; none if neither does."""
    n_channels, log = file.channels, file.extra_info
    if file.format == "FLAC":
        return tuple(_FLAC_LAYOUTS[n_channels].split())
    if file.format == "OGG":
        mapping = _OPUS_MAPPING.search(log)
        is_surround = mapping is None or mapping[1] == "1"
        return tuple(_OGG_LAYOUTS.get(n_channels, "").split()) if is_surround else ()
    mask = _MASK.search(log)
    speakers = [] if mask is None else [name for bit, name in enumerate(_MASK_BITS) if int(mask[1], 16) >> bit & 1]
    # More than there are channels are allowed, and the last ones meant to be ignored.
    return tuple(speakers[:n_channels]) if len(speakers) >= n_channels else ()
