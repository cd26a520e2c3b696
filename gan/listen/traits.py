"""What is measured of sounds and of their images, so that what is wrong with them can be told."""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale, db_from_image

# Frames from one stripe to the next: each doubling of a generator's width can leave its own.
STRIPE_PERIODS = (2, 4, 8)

# Lines of the envelope that are looked at, in multiples of the frame rate, and how deep one is to be heard.
_BUZZ_HARMONICS = (1, 2, 3)
_BUZZ_DEPTH = 0.2
# Frames that the envelope is divided by the mean of; power as a share of the mean that counts less, 30 dB below it.
_SMOOTHING_FRAMES = 8
_QUIET = 1e-3

_NO_POWER_DB = -200.0
# Narrower images have no neighbouring rates that stripes could stand out of.
_MIN_FRAMES = 32


@dataclass(frozen=True)
class Traits:
    """What is measured of n sounds.

    Attributes:
        frame_rate: Frames a second.
        level_db: Shape (n,): mean power of the cells above the floor, in dB; 0 if every cell is at top_db,
            -200 for silence.
        unsteadiness: Shape (n,), in [0, 2]: sum |P - mean P| / sum P, of the power P and its mean over time. 0 if no
            frame differs from another; infinite for silence.
        n_lines: Shape (n,), 1 or more: (sum P)^2 / sum P^2 of the mean power over time, the number of frequencies if
            all had the same power; infinite for silence.
        stripes_db: Shape (n, 3): power of the image's changes over time with a period of 2, 4 and 8 frames, in dB
            above those at neighbouring rates.
        stripes_depth_db: Shape (n, 3): their amplitude in dB, root of the mean square over frequencies.
        distances: Shape (n, n): root mean square difference of each two images, in units of their [-1, 1].
        buzz_db: Shape (n,): power of the envelope at the frame rate, twice and three times that, in dB above the
            neighbouring frequencies; the highest of the three. None if only images were measured.
        buzz_depth: Shape (n,): its amplitude there, as a share of the mean of the envelope; None likewise.
        peak_db: Shape (n,): largest absolute sample in dB, 0 if it is 1, -200 for silence; None likewise.
    """

    frame_rate: float
    level_db: Tensor
    unsteadiness: Tensor
    n_lines: Tensor
    stripes_db: Tensor
    stripes_depth_db: Tensor
    distances: Tensor
    buzz_db: Tensor | None = None
    buzz_depth: Tensor | None = None
    peak_db: Tensor | None = None

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        images: Tensor,
        scale: ImageScale,
        settings: SpectrogramSettings,
        waveforms: Tensor | None = None,
    ) -> Self:
        """Measure.

        Args:
            images: Shape (n, 1, n_freqs, n_frames), in [-1, 1].
            scale: Which levels -1 and 1 are.
            settings: The grid.
            waveforms: Shape (m, n_samples), of any of these images or all; None to leave out the buzz and the peak.

        Returns:
            Traits on the CPU.
        """
        level_db = db_from_image(images[:, 0].float(), scale)[:, :-1] - scale.top_db
        # What lies at the floor is not heard, nor what misses it by rounding.
        power = torch.pow(10.0, 0.1 * level_db).where(level_db > -scale.range_db * (1 - 1e-4), 0.0)
        stripes_db, depth_db = _stripes(level_db)
        flat = images.flatten(1).float()
        distances = torch.cdist(flat, flat) / math.sqrt(flat.shape[1])
        measures = {
            "level_db": 10.0 * power.mean((1, 2)).clamp_min(10.0 ** (0.1 * _NO_POWER_DB)).log10(),
            "unsteadiness": _unsteadiness(power),
            "n_lines": _n_lines(power),
            "stripes_db": stripes_db,
            "stripes_depth_db": depth_db,
            "distances": distances,
        }
        if waveforms is not None:
            measures["buzz_db"], measures["buzz_depth"] = _buzz(waveforms, settings.hop_length)
            peaks = waveforms.float().nan_to_num(0.0, 0.0, 0.0).abs().amax(1)
            measures["peak_db"] = 20.0 * peaks.clamp_min(10.0 ** (_NO_POWER_DB / 20.0)).log10()
        return cls(
            settings.sample_rate / settings.hop_length, **{name: value.cpu() for name, value in measures.items()}
        )

    def beside(self, real: Self) -> dict[str, float]:
        """Medians, as curves of a training; 0 where a measure is not to be had.

        Args:
            real: What is measured of real crops.

        Returns:
            "level_db" above theirs; "spread" of distances and "unsteadiness" as shares of theirs; the deepest of
            "stripes_db" and "buzz_db" themselves.
        """

        def spread(traits: Traits) -> Tensor:
            return traits.distances[~torch.eye(len(traits.distances), dtype=torch.bool)]

        curves = {
            "level_db": self.level_db.median() - real.level_db.median(),
            "spread": spread(self).median() / spread(real).median(),
            "unsteadiness": self.unsteadiness.median() / real.unsteadiness.median(),
            "stripes_db": self.stripes_db.amax(1).median(),
        }
        if self.buzz_db is not None:
            curves["buzz_db"] = self.buzz_db.median()
        return {name: float(value.nan_to_num(0.0, 0.0, 0.0)) for name, value in curves.items()}


def _unsteadiness(power: Tensor) -> Tensor:
    total = power.sum((1, 2))
    moved = (power - power.mean(2, keepdim=True)).abs().sum((1, 2))
    return torch.where(total > 0, moved / total, torch.inf)


def _n_lines(power: Tensor) -> Tensor:
    spectrum = power.mean(2).double()
    squares = spectrum.square().sum(1)
    return torch.where(squares > 0, spectrum.sum(1).square() / squares, torch.inf).float()


def _stripes(level_db: Tensor) -> tuple[Tensor, Tensor]:
    n_frames = level_db.shape[-1]
    if n_frames < _MIN_FRAMES:
        nothing = level_db.new_zeros(len(level_db), len(STRIPE_PERIODS))
        return nothing, nothing
    window = torch.hann_window(n_frames, device=level_db.device)
    changes = level_db - level_db.mean(-1, keepdim=True)
    # Mean over frequencies: stripes go through many, and what moves in one says little.
    power = torch.fft.rfft(changes * window).abs().square().mean(1)
    places = [n_frames / period for period in STRIPE_PERIODS]
    ratios, peaks = _peaks(power, places, reach=1, near=2, far=8)
    # A line of amplitude a has |X| = a / 2 * sum(window), at half the frame rate twice that.
    factors = torch.tensor([1.0 if period == 2 else 2.0 for period in STRIPE_PERIODS], device=level_db.device)
    return ratios, factors * peaks.sqrt() / window.sum()


def _buzz(waveforms: Tensor, hop_length: int) -> tuple[Tensor, Tensor]:
    """Of the squared envelope, |x + i H(x)|^2: the square of x itself has a line at twice the frequency of each tone.

    Divided by its own mean over some frames, so that what is loud for a moment only does not count more, nor hide the
    lines under the spectrum of its decay.
    """
    n_samples = waveforms.shape[-1]
    spectrum = torch.fft.fft(waveforms.float())
    spectrum[:, n_samples // 2 + 1 :] = 0.0
    envelope = torch.fft.ifft(spectrum).abs().square()
    # A whole number of frames: the mean has nothing of the lines themselves.
    slow = _moving_mean(envelope, min(n_samples, _SMOOTHING_FRAMES * hop_length))
    flat = envelope / (slow + _QUIET * envelope.mean(1, keepdim=True) + torch.finfo(torch.float32).tiny)
    window = torch.hann_window(n_samples, device=waveforms.device)
    power = torch.fft.rfft((flat - flat.mean(1, keepdim=True)) * window).abs().square()
    places = [harmonic * n_samples / hop_length for harmonic in _BUZZ_HARMONICS]
    ratios, peaks = _peaks(power, places, reach=1, near=3, far=16)
    depth = 2.0 * peaks.sqrt() / window.sum()
    heard = ratios.where(depth > _BUZZ_DEPTH, 0.0)
    best = heard.argmax(1, keepdim=True)
    return heard.gather(1, best)[:, 0], depth.gather(1, best)[:, 0]


def _moving_mean(values: Tensor, width: int) -> Tensor:
    """Mean of `width` values around each, shape (n, length); the first and last such mean before and behind."""
    # In double: what is left of a difference of two long sums would else be rounding.
    sums = pad(values.double().cumsum(1), (1, 0))
    means = ((sums[:, width:] - sums[:, :-width]) / width).float().clamp_min(0.0)
    before = (width - 1) // 2
    return pad(means[:, None], (before, width - 1 - before), mode="replicate")[:, 0]


def _peaks(power: Tensor, places: list[float], reach: int, near: int, far: int) -> tuple[Tensor, Tensor]:
    """How far lines stand out of a power spectrum, shape (n, n_bins), at places in (fractions of) bins.

    Returns:
        Each of shape (n, places): dB above the median of the bins that are more than `near` and at most `far` away;
        power of the line.
    """
    n_bins = power.shape[1]
    tiny = torch.finfo(power.dtype).tiny
    ratios, peaks = [], []
    for place in places:
        middle = round(place)
        around = [b for b in range(middle - far, middle + far + 1) if abs(b - middle) > near and 0 < b < n_bins]
        if not around or middle >= n_bins:
            peaks.append(power.new_zeros(len(power)))
            ratios.append(power.new_zeros(len(power)))
            continue
        peak = power[:, max(1, middle - reach) : middle + reach + 1].amax(1)
        ground = power[:, around].median(1).values
        peaks.append(peak)
        ratios.append(10.0 * (peak.clamp_min(tiny) / ground.clamp_min(tiny)).log10())
    return torch.stack(ratios, 1), torch.stack(peaks, 1)
