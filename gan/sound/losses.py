"""What was lost from a recording to the sound made from its picture, step by step."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound.alignment import n_edge_frames, nearest_gain, ratio_db
from gan.sound.mixdown import Mixdown
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.recording import read_excerpt
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude, magnitude_from_waveform


@dataclass(frozen=True)
class Losses:
    """What was lost from a recording to the sound made from its picture, step by step.

    Spectral convergence is 20 log10(|| magnitude - wanted || / || wanted ||); -20 dB is good, -30 dB very good.

    Attributes:
        start_second: Where the picture starts in the recording.
        picture_db_rms: Root mean square difference between the picture's levels and the recording's, in dB; both at
            the same level and lifted to the lowest level that the picture can show.
        picture_convergence_db: Spectral convergence of the picture's magnitudes to the recording's, at the same level.
        below_range: Share of the recording's cells, in [0, 1], that are below the lowest level that the picture can
            show: what they held is gone.
        phase_convergence_db: Spectral convergence of the decoded waveform to the picture.
        total_convergence_db: Spectral convergence of the decoded waveform to the recording, at the same level.
        level_db: Level of the decoded waveform less the recording's, in dB.
    """

    start_second: float
    picture_db_rms: float
    picture_convergence_db: float
    below_range: float
    phase_convergence_db: float
    total_convergence_db: float
    level_db: float

    def __str__(self) -> str:
        """A small table, one step a line."""
        return "\n".join(
            (
                f"start     {self.start_second:.4f} s into the recording",
                f"picture   {self.picture_db_rms:.2g} dB rms (spectral convergence "
                f"{self.picture_convergence_db:.1f} dB); {self.below_range:.0%} of the recording is too quiet for it",
                f"phase     {self.phase_convergence_db:.1f} dB spectral convergence",
                f"level     {self.level_db:+.1f} dB against the recording",
                f"in all    {self.total_convergence_db:.1f} dB spectral convergence",
            )
        )


def losses(
    magnitude: Tensor,
    waveform: Tensor,
    recording: Path,
    start_second: float,
    settings: SpectrogramSettings,
    range_db: float,
    mixdown: Mixdown | None = None,
) -> Losses:
    """Measure what was lost between a recording and the sound made from its picture.

    Args:
        magnitude: The picture as the waveform was made from it, linear amplitude >= 0, shape (n_freqs, n_frames).
        waveform: What was made of it, shape (n_samples,), before anything else is done to its level.
        recording: The sound file; what lies behind its end is silence.
        start_second: Where the picture starts in the recording.
        settings: The picture's grid.
        range_db: dB from the loudest cell of the picture to the lowest level that it can show.
        mixdown: What makes one channel of the recording's; the mix of all if not given.

    Returns:
        The losses, step by step.

    Raises:
        InputError: If the recording cannot be read, or if it or the picture is silent there.
    """
    excerpt = torch.from_numpy(read_excerpt(recording, settings.sample_rate, start_second, len(waveform), mixdown))
    n_frames = min(magnitude.shape[1], settings.n_frames(len(waveform)))
    edge = n_edge_frames(settings)
    # A picture of so few frames that all of them see its ends is compared whole.
    inner = slice(edge, n_frames - edge) if n_frames > 2 * edge else slice(n_frames)
    wanted = magnitude_from_waveform(excerpt, settings)[:, inner]
    decoded = magnitude_from_waveform(waveform, settings)[:, inner]
    picture = magnitude[:, inner]
    gain = nearest_gain(picture, wanted)
    if not gain > 0:
        raise InputError(
            f"{recording}: it or its picture is silent from {start_second:.2f} s on for "
            f"{len(waveform) / settings.sample_rate:.2f} s; there is nothing to compare"
        )
    floor = 10.0 ** (-range_db / 20.0)
    top = float(magnitude.max())
    scaled = wanted * (gain / top)
    error_db = db_from_magnitude(picture / top, amin=floor, top_db=None)
    error_db -= db_from_magnitude(scaled, amin=floor, top_db=None)
    return Losses(
        start_second=start_second,
        picture_db_rms=float(error_db.square().mean().sqrt()),
        picture_convergence_db=_matched_convergence_db(picture, wanted),
        below_range=float((scaled < floor).float().mean()),
        phase_convergence_db=float(spectral_convergence_db(waveform, magnitude, settings)),
        total_convergence_db=_matched_convergence_db(decoded, wanted),
        level_db=ratio_db(float(decoded.norm() / wanted.norm())),
    )


def _matched_convergence_db(magnitude: Tensor, wanted: Tensor) -> float:
    """Spectral convergence of a magnitude with the gain that brings it nearest."""
    return ratio_db(float((nearest_gain(wanted, magnitude) * magnitude - wanted).norm() / wanted.norm()))
