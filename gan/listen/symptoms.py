"""What goes wrong when a GAN learns spectrograms, told from its samples and its losses by measures with thresholds.

Samples are judged beside real crops. A sound has a fault if a measure of it is beyond a threshold; samples have it if
the share of them that has it is larger than that of the real crops by half of all or more. So where the real sounds are
steady tones or all alike, the samples may be.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale, db_from_image

# How much larger the share of samples with a fault has to be than that of the real crops: 4 of 8 against none.
_SHARE = 0.5
# Where chance makes the same: twins among many short sounds of one kind, a voice whose pitch is the frame rate.
_LARGE_SHARE = 0.7
# Below the real crops' median level by this much nothing is heard beside them.
_SILENT_DB = 40.0
# Power that moves from frame to frame, as a share of all: a sine with 1 dB of ripple has 0.1, a held note of an
# instrument 0.2 to 0.8, speech 1 and more.
_STEADY = 0.15
# Frequencies that a spectrum's power is spread over: a sine in a Hann window has 2. So five lines.
_FEW_LINES = 10.0
# Stripes stand out of what the image does at neighbouring rates, and are deep enough to be heard.
_STRIPE_PERIODS = (2, 4, 8)
_STRIPE_RATIO_DB = 9.0
_STRIPE_DEPTH_DB = 2.0
# The same of the envelope's lines at the frame rate and twice and three times that.
_BUZZ_HARMONICS = (1, 2, 3)
_BUZZ_RATIO_DB = 12.0
_BUZZ_DEPTH = 0.2
_SMOOTHING_FRAMES = 8
# Power as a share of the mean that counts less: 30 dB below it.
_QUIET = 1e-3
# Two samples nearer than this share of the usual distance of real crops are one sound.
_TWIN = 0.2
# Shares of the loss of a discriminator that tells nothing, and of the generator's at that time.
_WON = 0.05
_RUNAWAY = 10.0
# Mean of the logits' difference in units of its standard error, and the fewest batches that it is told from.
_BLIND = 2.0
_MIN_BATCHES = 20

_NO_POWER_DB = -200.0
_MIN_FRAMES = 32

_CALMER = "lower model.discriminator_lr, raise model.penalty.init_args.weight or set model.augment"


@dataclass(frozen=True)
class Symptom:
    """Something that is wrong.

    Attributes:
        name: One of a few words, the same every time.
        found: What is wrong, in plain words with numbers.
        advice: What to try: options of configs/default.yaml.
    """

    name: str
    found: str
    advice: str


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
            waveforms: Shape (m, n_samples), of any of these images or all; None to leave out the buzz.

        Returns:
            Traits on the CPU.
        """
        level_db = db_from_image(images[:, 0].float(), scale)[:, :-1] - scale.top_db
        # What lies at the floor is not heard, nor what misses it by rounding.
        power = torch.pow(10.0, 0.1 * level_db).where(level_db > -scale.range_db * (1 - 1e-4), 0.0)
        stripes_db, depth_db = _stripes(level_db)
        flat = images.flatten(1).float()
        distances = torch.cdist(flat, flat) / math.sqrt(flat.shape[1])
        buzz = None if waveforms is None else _buzz(waveforms, settings.hop_length)
        measures = {
            "level_db": 10.0 * power.mean((1, 2)).clamp_min(10.0 ** (0.1 * _NO_POWER_DB)).log10(),
            "unsteadiness": _unsteadiness(power),
            "n_lines": _n_lines(power),
            "stripes_db": stripes_db,
            "stripes_depth_db": depth_db,
            "distances": distances,
        }
        if buzz is not None:
            measures["buzz_db"], measures["buzz_depth"] = buzz
        return cls(
            settings.sample_rate / settings.hop_length, **{name: value.cpu() for name, value in measures.items()}
        )


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
        nothing = level_db.new_zeros(len(level_db), len(_STRIPE_PERIODS))
        return nothing, nothing
    window = torch.hann_window(n_frames, device=level_db.device)
    changes = level_db - level_db.mean(-1, keepdim=True)
    # Mean over frequencies: stripes go through many, and what moves in one says little.
    power = torch.fft.rfft(changes * window).abs().square().mean(1)
    places = [n_frames / period for period in _STRIPE_PERIODS]
    ratios, peaks = _peaks(power, places, reach=1, near=2, far=8)
    # A line of amplitude a has |X| = a / 2 * sum(window), at half the frame rate twice that.
    factors = torch.tensor([1.0 if period == 2 else 2.0 for period in _STRIPE_PERIODS], device=level_db.device)
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


def silence(samples: Traits, real: Traits) -> Symptom | None:
    """Samples are 40 dB and more below the median level of the real crops."""
    typical = float(real.level_db.median())
    silent = samples.level_db < typical - _SILENT_DB
    if not _stands_out(silent, real.level_db < typical - _SILENT_DB):
        return None
    loudest = typical - float(samples.level_db[silent].max())
    return Symptom(
        "silence",
        f"{_count(silent)} silent: the loudest of them {loudest:.0f} dB below the real ones",
        f"{_CALMER}; if most of the recordings are quiet themselves, set data.equal_levels",
    )


def steady_tone(samples: Traits, real: Traits) -> Symptom | None:
    """Samples do not change over time and have their power in few lines."""
    steady, real_steady = (
        (traits.unsteadiness < _STEADY) & (traits.n_lines < _FEW_LINES) for traits in (samples, real)
    )
    if not _stands_out(steady, real_steady):
        return None
    moved = 100 * float(samples.unsteadiness[steady].mean())
    real_moved = 100 * float(real.unsteadiness[real.unsteadiness.isfinite()].mean())
    return Symptom(
        "steady tone",
        f"{_count(steady)} one steady tone: {moved:.0f} % of the power moves over time, of the real ones' "
        f"{real_moved:.0f} %",
        f"{_CALMER}; lower model.generator_lr",
    )


def stripes(samples: Traits, real: Traits) -> Symptom | None:
    """Samples' images have stripes every 2, 4 or 8 frames, as transposed convolutions leave them (checkerboards)."""
    striped, real_striped = (
        (traits.stripes_db > _STRIPE_RATIO_DB) & (traits.stripes_depth_db > _STRIPE_DEPTH_DB)
        for traits in (samples, real)
    )
    found = [
        (period, striped[:, place])
        for place, period in enumerate(_STRIPE_PERIODS)
        if _stands_out(striped[:, place], real_striped[:, place])
    ]
    if not found:
        return None
    period, flags = max(found, key=lambda each: int(each[1].sum()))
    place = _STRIPE_PERIODS.index(period)
    depth_db = float(samples.stripes_depth_db[flags, place].mean())
    return Symptom(
        "stripes",
        f"{_count(flags)} striped every {period} frames, {depth_db:.1f} dB deep: heard as a buzz at "
        f"{samples.frame_rate / period:.0f} Hz",
        "more epochs often smooth it; else lower model.generator_lr, raise model.ema_decay or "
        "model.generator.init_args.base_channels",
    )


def buzz(samples: Traits, real: Traits) -> Symptom | None:
    """Samples' sounds swell at the rate of the frames: neighbouring frames do not fit one sound.

    The real ones have to be inverted by the same method, so that what the method does is not taken for the GAN's.
    """
    if samples.buzz_db is None or samples.buzz_depth is None or real.buzz_db is None:
        return None
    buzzing = samples.buzz_db > _BUZZ_RATIO_DB
    if not _stands_out(buzzing, real.buzz_db > _BUZZ_RATIO_DB, _LARGE_SHARE):
        return None
    depth = 100 * float(samples.buzz_depth[buzzing].mean())
    return Symptom(
        "buzz",
        f"{_count(buzzing)} buzzing at the rate of the frames, {samples.frame_rate:.0f} Hz: the power swells by "
        f"{depth:.0f} %",
        "more epochs often smooth it; else raise listen.phase.init_args.n_iter, or encode with a smaller hop_length",
    )


def sameness(samples: Traits, real: Traits) -> Symptom | None:
    """Samples of different latents have a twin among them, nearer than a fifth of the usual distance of real crops.

    So two or three sounds that come again and again are found too. Of real crops it is asked how many would have a
    twin among as many as the samples are.
    """
    n, n_real = len(samples.distances), len(real.distances)
    if n < 2 or n_real < 2:
        return None
    others, real_others = (~torch.eye(size, dtype=torch.bool) for size in (n, n_real))
    usual = float(real.distances[real_others].median())
    twins = ((samples.distances < _TWIN * usual) & others).any(1)
    real_twins = ((real.distances < _TWIN * usual) & real_others).float().sum(1) / (n_real - 1)
    if not _stands_out(twins, 1.0 - (1.0 - real_twins) ** (n - 1), _LARGE_SHARE):
        return None
    spread = 100 * float(samples.distances[others].median()) / usual
    return Symptom(
        "sameness",
        f"{_count(twins)} nearly like another one: the spread of all is {spread:.0f} % of that of real crops",
        f"{_CALMER}; raise data.batch_size",
    )


def symptoms_of_samples(samples: Traits, real: Traits) -> list[Symptom]:
    """All that is wrong with samples; of silent ones, that they are."""
    if found := silence(samples, real):
        return [found]
    judges = (steady_tone, stripes, buzz, sameness)
    return [symptom for judge in judges if (symptom := judge(samples, real)) is not None]


def discriminator_won(logs: Mapping[str, Tensor], chance: Mapping[str, float]) -> Symptom | None:
    """The discriminator's loss is below 5 % of what it is if nothing is told from anything, all epoch long.

    Then its gradients are too small to teach the generator. A loss that is 0 for a discriminator that tells nothing,
    as Wasserstein's, has no such end and is not judged.

    Args:
        logs: Of each batch of an epoch, "loss/discriminator", "logits/real" and "logits/fake", shape (n_batches,).
        chance: "loss/discriminator" where all logits are 0.
    """
    limit = _WON * chance["loss/discriminator"]
    loss = float(logs["loss/discriminator"].mean())
    if limit <= 0 or len(logs["loss/discriminator"]) < _MIN_BATCHES or not 0 <= loss < limit:
        return None
    real, fake = float(logs["logits/real"].mean()), float(logs["logits/fake"].mean())
    return Symptom(
        "discriminator has won",
        f"the discriminator's loss is {loss:.3f} all epoch long (it would be {chance['loss/discriminator']:.2f} if it "
        f"told nothing); logits of real ones {real:.1f}, of samples {fake:.1f}",
        _CALMER,
    )


def runaway(logs: Mapping[str, Tensor], chance: Mapping[str, float]) -> Symptom | None:
    """A loss is ten times what it is where nothing is told from anything.

    Losses that are 0 or less there have no scale and are not judged.

    Args:
        logs: Of each batch of an epoch, "loss/generator" and "loss/discriminator", shape (n_batches,).
        chance: Both where all logits are 0.
    """
    for who in ("generator", "discriminator"):
        loss, usual = float(logs[f"loss/{who}"].mean()), chance[f"loss/{who}"]
        if usual > 0 and loss > _RUNAWAY * usual:
            return Symptom(
                "loss runs away",
                f"the {who}'s loss is {loss:.1f}, {loss / usual:.0f} times what it is at the start",
                f"{_CALMER}; lower model.generator_lr",
            )
    return None


def blind_discriminator(logs: Mapping[str, Tensor]) -> Symptom | None:
    """Real logits are not above those of samples: their difference's mean over an epoch is within two standard errors.

    It needs no scale, so it holds for every loss; a discriminator that learns passes it by far.

    Args:
        logs: Of each batch of an epoch, "logits/real" and "logits/fake", shape (n_batches,).
    """
    gap = (logs["logits/real"] - logs["logits/fake"]).double()
    if len(gap) < _MIN_BATCHES:
        return None
    mean, error = float(gap.mean()), float(gap.std()) / math.sqrt(len(gap))
    if mean > _BLIND * error:
        return None
    return Symptom(
        "blind discriminator",
        f"the discriminator tells nothing: logits of real ones lie {mean:.2g} above those of samples, give or take "
        f"{error:.2g}",
        "lower model.penalty.init_args.weight, model.generator_lr or the probability of model.augment; raise "
        "model.discriminator_lr or model.discriminator.init_args.base_channels",
    )


def symptoms_of_losses(logs: Mapping[str, Tensor], chance: Mapping[str, float]) -> list[Symptom]:
    """All that is wrong with an epoch's losses and logits, see the functions."""
    found = [symptom for judge in (discriminator_won, runaway) if (symptom := judge(logs, chance)) is not None]
    # Logits that jump about tell nothing either, but what helps is the opposite.
    if not found and (blind := blind_discriminator(logs)) is not None:
        found.append(blind)
    return found


def _stands_out(faults: Tensor, real_faults: Tensor, by: float = _SHARE) -> bool:
    return float(faults.float().mean()) - float(real_faults.float().mean()) >= by


def _count(flags: Tensor) -> str:
    n = int(flags.sum())
    return f"{n} of {len(flags)} samples {'is' if n == 1 else 'are'}"
