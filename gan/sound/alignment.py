"""Where in a recording a picture of its spectrogram starts, to the sample, and at what level.

A picture's first and last frames saw what its maker put around the excerpt (zeros, as a rule) and depend on whether it
was cut before or after resampling: they differ by decibels between programs that agree on all the others. So only the
frames between them are compared, those whose samples are all in the excerpt.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from gan.errors import InputError
from gan.sound.mixdown import Mixdown
from gan.sound.recording import read_excerpt, windows
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_db, padded_window

# Frames of the recording that are transformed at a time.
_BLOCK_FRAMES = 512
_N_BANDS = 16
# A band is compared where its level is so far above what the floor alone adds up to, in dB.
_ABOVE_FLOOR_DB = 6.0
# Power of a band that is told from silence.
_MIN_POWER = 1e-10
# Places that are looked at to the sample: music repeats itself, and to the frame the wrong bar can look better.
_N_PLACES = 4
_N_PROBES = 256
_MIN_FRAMES = 8
# Measured on music and speech: the right place has 0.99, under as much white noise as sound 0.82, drawn in 64 mel bands
# 0.59; other recordings have less than 0.2, for pictures of a second 0.5; other bars of a loop up to 0.94.
_MIN_MATCH = 0.55
# Part of its amplitude by which a picture must change for its place to be found; rounding to 0.31 dB makes 0.02.
_MIN_CHANGE = 0.03


@dataclass(frozen=True)
class Alignment:
    """Where a picture's sound is in a recording.

    Attributes:
        start_second: Where the picture starts in the recording, a whole number of samples at the picture's rate.
        offset_db: Level in the recording less level in the picture, in dB.
        match: Correlation of the picture's magnitudes with the recording's, each frequency's mean removed; 1 is exact.
        next_match: The same at the best other place; None if there is but one. Near `match` where music repeats itself.
    """

    start_second: float
    offset_db: float
    match: float
    next_match: float | None


def align(
    level_db: Tensor,
    recording: Path,
    settings: SpectrogramSettings,
    range_db: float,
    mixdown: Mixdown | None = None,
) -> Alignment:
    """Find where in a recording a picture starts, to the sample, and at what level.

    The recording is read in blocks; of an hour of it some 10 MB are kept.

    Args:
        level_db: The picture, shape (n_freqs, n_frames), dB; 0 dB may be any level.
        recording: The sound file; what lies behind its end is silence.
        settings: The picture's grid; the recording is resampled to its rate.
        range_db: dB from the loudest cell of the picture to the lowest level that it can show.
        mixdown: What makes one channel of the recording's; the mix of all if not given.

    Returns:
        The best place.

    Raises:
        InputError: If the recording cannot be read or does not hold the picture's sound, or if the picture is too short
            or too steady to be found in anything.
    """
    edge = n_edge_frames(settings)
    n_frames = level_db.shape[1] - 2 * edge
    if n_frames < _MIN_FRAMES:
        raise InputError(
            f"{recording}: a picture of {level_db.shape[1]} frames is too short to be found in it; "
            f"{_MIN_FRAMES + 2 * edge} are needed"
        )
    top_db = float(level_db.max())
    amplitude = magnitude_from_db((level_db[:, edge : edge + n_frames] - top_db).clamp_min(-range_db))
    probes = torch.linspace(0, n_frames - 1, min(n_frames, _N_PROBES)).round().long()
    picture = amplitude[:, probes]
    if not _without_means(picture).norm() > _MIN_CHANGE * picture.norm():
        raise InputError(f"{recording}: the picture is the same all along, so that it could be anywhere in it")

    edges = _band_edges(settings.n_freqs)
    bands_db = _bands_db(amplitude.square(), edges)
    floor_db = 10.0 * torch.log10(torch.from_numpy(np.diff(edges)).float()) - range_db
    recording_db = _recording_bands_db(recording, settings, edges, mixdown)
    recording_db = pad(recording_db, (0, max(0, n_frames - recording_db.shape[1])), value=float(recording_db.min()))
    matches = _band_matches(bands_db, bands_db > floor_db[:, None] + _ABOVE_FLOOR_DB, recording_db)

    places = [
        _refine(picture, probes, recording, settings, frame * settings.hop_length - _lead(settings), mixdown)
        for frame in _best_frames(matches, settings.n_fft // settings.hop_length)
    ]
    best, *others = sorted(places, key=lambda place: place.match, reverse=True)
    start_second = best.start_sample / settings.sample_rate
    if best.match < _MIN_MATCH:
        raise InputError(
            f"{recording}: it does not hold the picture's sound: the best match, at {start_second:.2f} s, is "
            f"{max(0.0, best.match):.2f} where {_MIN_MATCH} is needed; give the recording that was drawn, or check the "
            f"picture's settings (sample_rate {settings.sample_rate}, n_fft {settings.n_fft}, hop_length "
            f"{settings.hop_length})"
        )
    return Alignment(start_second, best.offset_db - top_db, best.match, others[0].match if others else None)


def n_edge_frames(settings: SpectrogramSettings) -> int:
    """Frames at either end of a picture that see samples from outside of its excerpt."""
    return -(-(settings.n_fft // 2) // settings.hop_length)


def _lead(settings: SpectrogramSettings) -> int:
    """Samples from a picture's start to the first one of its first inner frame."""
    return n_edge_frames(settings) * settings.hop_length - settings.n_fft // 2


def nearest_gain(magnitude: Tensor, of: Tensor) -> float:
    """The gain by which `of` comes nearest to a magnitude, linear: noise in the magnitude does not change it."""
    return float((magnitude * of).sum() / of.square().sum())


def ratio_db(ratio: float) -> float:
    return 20.0 * math.log10(ratio) if ratio > 0 else -math.inf


def _without_means(magnitude: Tensor) -> Tensor:
    """What changes over time. Two sounds' means are alike, low frequencies being loud in both."""
    return magnitude.double() - magnitude.double().mean(dim=1, keepdim=True)


def _band_edges(n_freqs: int) -> NDArray[np.int64]:
    """First frequency of every band and, last, n_freqs; equally wide at first, then ever wider, as hearing has it."""
    width = n_freqs / 64
    edges = width * np.sinh(np.linspace(0.0, np.arcsinh(n_freqs / width), _N_BANDS + 1))
    return np.unique(np.rint(edges).astype(np.int64))


def _bands_db(power: Tensor, edges: NDArray[np.int64]) -> Tensor:
    """Level of each band, shape (n_bands, n_frames), dB."""
    bands = torch.stack([band.sum(dim=0) for band in power.tensor_split(torch.from_numpy(edges[1:-1]))])
    return 10.0 * torch.log10(bands.clamp_min(_MIN_POWER))


def _recording_bands_db(
    recording: Path, settings: SpectrogramSettings, edges: NDArray[np.int64], mixdown: Mixdown | None
) -> Tensor:
    """Band levels of a whole recording, frames starting every hop_length samples from the first, dB."""
    step = _BLOCK_FRAMES * settings.hop_length
    window = padded_window(settings)
    blocks: list[Tensor] = []
    for block in windows(recording, settings.sample_rate, step + settings.n_fft, step, mixdown):
        # The last one ends at the recording's end and so starts too early.
        waveform = torch.from_numpy(block.waveform)[len(blocks) * step - block.start_sample :]
        if not block.last:
            waveform = waveform[: step - settings.hop_length + settings.n_fft]
        waveform = pad(waveform, (0, max(0, settings.n_fft - len(waveform))))
        spectra = torch.fft.rfft(waveform.unfold(0, settings.n_fft, settings.hop_length) * window)
        blocks.append(_bands_db(spectra.abs().square().T, edges))
    return torch.cat(blocks, dim=1)


def _band_matches(picture: Tensor, shown: Tensor, recording: Tensor) -> Tensor:
    """Correlation of band levels over time, each band's mean removed, for every place of the picture.

    Args:
        picture: Shape (n_bands, n_frames), dB.
        shown: Which of them count, same shape.
        recording: Shape (n_bands, n_recording_frames), dB, not shorter.

    Returns:
        Shape (n_recording_frames - n_frames + 1,), in [-1, 1]; 0 where a side does not change.
    """
    n_places = recording.shape[1] - picture.shape[1] + 1
    covariance = torch.zeros(n_places, dtype=torch.float64)
    variance = torch.zeros(n_places, dtype=torch.float64)
    picture_variance = 0.0
    # Band after band, in double: sums of squares over an hour, of which small differences count.
    for levels, counts, recorded in zip(picture.double(), shown.double(), recording.double(), strict=True):
        n_counted = counts.sum().clamp_min(1.0)
        pictured = counts * (levels - (counts * levels).sum() / n_counted)
        centred = recorded - recorded.mean()
        covariance += _correlate(pictured, centred)
        variance += _correlate(counts, centred.square()) - _correlate(counts, centred).square() / n_counted
        picture_variance += float(pictured.square().sum())
    return covariance / (variance * picture_variance).clamp_min(1.0).sqrt()


def _correlate(part: Tensor, whole: Tensor) -> Tensor:
    """Sum of products for every place of a part in a whole, shape (len(whole) - len(part) + 1,)."""
    n = 1 << (len(whole) - 1).bit_length()
    product = torch.fft.rfft(whole, n) * torch.fft.rfft(part, n).conj()
    correlation: Tensor = torch.fft.irfft(product, n)
    return correlation[: len(whole) - len(part) + 1]


def _best_frames(matches: Tensor, distance: int) -> list[int]:
    """Indices of the best matches that are at least so far from each other, best first."""
    left = matches.clone()
    best: list[int] = []
    while len(best) < _N_PLACES and float(left.max()) > -math.inf:
        frame = int(left.argmax())
        best.append(frame)
        left[max(0, frame - distance) : frame + distance + 1] = -math.inf
    return best


@dataclass(frozen=True)
class _Place:
    start_sample: int
    match: float
    offset_db: float


def _refine(
    picture: Tensor,
    probes: Tensor,
    recording: Path,
    settings: SpectrogramSettings,
    start: int,
    mixdown: Mixdown | None,
) -> _Place:
    """Find the best place within a hop of a sample.

    Every frequency votes, by how well its magnitudes over time agree: - log(1 - r^2), twice the mutual information of
    two normal variables of correlation r. Those that the picture shows well decide; noise and the floor hardly count.

    Args:
        picture: Some inner frames of it, linear amplitude, shape (n_freqs, n_probes).
        probes: Which, counted from the first inner one.
        recording: The sound file.
        settings: The grid.
        start: Where the picture starts at first guess, in samples at the picture's rate.
        mixdown: As of `align`.

    Returns:
        The place; its offset is from the picture's amplitude.
    """
    hop_length = settings.hop_length
    margin = 2 * hop_length
    n_samples = int(probes[-1]) * hop_length + settings.n_fft + 2 * margin
    first = start + _lead(settings) - margin
    before = max(0, -first)
    start_second = (first + before) / settings.sample_rate
    excerpt = read_excerpt(recording, settings.sample_rate, start_second, n_samples - before, mixdown)
    frames = pad(torch.from_numpy(excerpt), (before, 0)).unfold(0, settings.n_fft, 1)
    window = padded_window(settings)
    changes = _without_means(picture)
    power = changes.square().sum(dim=1)

    def magnitude(shift: int) -> Tensor:
        spectra: Tensor = torch.fft.rfft(frames[margin + shift + probes * hop_length] * window)
        return spectra.abs().T

    @cache
    def agreement(shift: int) -> float:
        recorded = _without_means(magnitude(shift))
        products = power * recorded.square().sum(dim=1)
        r_squared = (changes * recorded).sum(dim=1).square() / products.clamp_min(_MIN_POWER**2)
        return -float(torch.log1p(-r_squared.clamp_max(1.0 - 1e-9)).sum())

    step = max(1, hop_length // 4)
    shift = max(range(-hop_length, hop_length + 1, step), key=agreement)
    while step > 1:
        step //= 2
        shift = max(shift - step, shift, shift + step, key=agreement)
    shift = max(shift, -start)
    recorded = magnitude(shift)
    recorded_changes = _without_means(recorded)
    norms = changes.norm() * recorded_changes.norm()
    match = float((changes * recorded_changes).sum() / norms.clamp_min(_MIN_POWER))
    return _Place(start + shift, match, -ratio_db(nearest_gain(picture, recorded)))
