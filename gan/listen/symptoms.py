"""What goes wrong when a GAN learns spectrograms, told from its samples and its losses by measures with thresholds.

Samples are judged beside real crops. A sound has a fault if a measure of it is beyond a threshold; samples have it if
the share of them that has it is larger than that of the real crops by half of all or more. So where the real sounds are
steady tones or all alike, the samples may be.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gan.listen.traits import STRIPE_PERIODS, Traits

# How much larger the share of samples with a fault has to be than that of the real crops: 4 of 8 against none.
_SHARE = 0.5
# Where chance makes the same: twins among many short sounds of one kind, a voice whose pitch is the frame rate.
_LARGE_SHARE = 0.7
# Below the real crops' median level by this much nothing is heard beside them.
_SILENT_DB = 40.0
# Times the peak of the loudest real crop from which on a sample is louder than full scale where it is listened to.
HEADROOM = 2.0
# Power that moves from frame to frame, as a share of all: a sine with 1 dB of ripple has 0.1, a held note of an
# instrument 0.2 to 0.8, speech 1 and more.
_STEADY = 0.15
# Frequencies that a spectrum's power is spread over: a sine in a Hann window has 2. So five lines.
_FEW_LINES = 10.0
# Stripes stand out of what the image does at neighbouring rates, and are deep enough to be heard.
_STRIPE_RATIO_DB = 9.0
_STRIPE_DEPTH_DB = 2.0
# The same of the lines of the envelope; what is not deep enough counts as 0 already.
_BUZZ_RATIO_DB = 12.0
# Two samples nearer than this share of the usual distance of real crops are one sound.
_TWIN = 0.2
# Shares of the loss of a discriminator that tells nothing, and of the generator's at that time.
_WON = 0.05
_RUNAWAY = 10.0
# Mean of the logits' difference in units of its standard error, and the fewest batches that it is told from.
_BLIND = 2.0
_MIN_BATCHES = 20

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
        for place, period in enumerate(STRIPE_PERIODS)
        if _stands_out(striped[:, place], real_striped[:, place])
    ]
    if not found:
        return None
    period, flags = max(found, key=lambda each: int(each[1].sum()))
    place = STRIPE_PERIODS.index(period)
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


def peaks_over_full_scale(samples: Traits, real: Traits) -> Tensor:
    """How far the peaks of samples lie above full scale where they are listened to, in dB, shape (n_sounds,).

    There the loudest real crop has its peak at -6 dBFS.

    Args:
        samples: Measured with their sounds, as the real crops.
        real: The real crops.
    """
    assert samples.peak_db is not None
    assert real.peak_db is not None
    return samples.peak_db - real.peak_db.max() - 20.0 * math.log10(HEADROOM)


def overload(samples: Traits, real: Traits) -> Symptom | None:
    """Samples' sounds have a peak above full scale at the gain at which they are listened to."""
    if samples.peak_db is None or real.peak_db is None:
        return None
    over_db = peaks_over_full_scale(samples, real)
    # Of the real crops none is, or full scale would be elsewhere.
    if not _stands_out(over_db > 0, torch.zeros(1)):
        return None
    return Symptom(
        "louder than full scale",
        f"{_count(over_db > 0)} louder than full scale, the loudest by {float(over_db.max()):.1f} dB, where the "
        "loudest real crop has its peak at -6 dBFS: their clips are made quieter",
        _CALMER,
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
    judges = (steady_tone, stripes, buzz, overload, sameness)
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
