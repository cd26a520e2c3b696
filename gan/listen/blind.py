"""A blind listening test: sounds that nothing but the ear can tell apart, in one page, and the key to it."""

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.errors import InputError
from gan.evaluate.answers import KINDS, REAL, Key, Kind, Trial
from gan.listen.render import fade_ends, lengths
from gan.listen.sounds import loudness
from gan.listen.systems import Generated, Recorded, System
from gan.progress import each
from gan.seed import derive_seed
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude
from gan.trained import Trained

if TYPE_CHECKING:
    from gan.data.datamodule import ImageData

# EBU R 128, if no sound has to be louder than the peak below for it.
_LOUDNESS = -23.0
_PEAK_DB = -1.0
# Of what the GAN sees, from the bottom: a sound that is nowhere louder is silence, even if it could be made loud.
_SILENT_PART = 0.05
_N_DRAWN_FOR_ONE = 20


class BlindTest(NamedTuple):
    """A test.

    Attributes:
        key: What is kept.
        page: What listeners get, HTML.
    """

    key: Key
    page: str


class _Question(NamedTuple):
    kind: Kind
    systems: tuple[str, ...]
    right: str | None
    label: int | None


def possible_kinds(n_runs: int, real: bool) -> list[Kind]:
    """What can be asked."""
    possible = {"quality": True, "origin": real, "abx": n_runs == 2}
    return [kind for kind in KINDS if possible[kind]]


def make_test(
    runs: dict[str, Trained],
    data: "ImageData | None",
    kinds: Sequence[Kind],
    n_trials: int,
    phase: PhaseMethod,
    seed: int,
) -> BlindTest:
    """Make a test; the same arguments make the same one.

    All sounds go the same way, real ones too: from an image through `phase` to a waveform, at the lowest of the runs'
    sample rates, cut to the shortest of their crops, faded at both ends, at the same loudness (ITU-R BS.1770), as WAV
    files of the same size.

    Args:
        runs: One or two, by their names.
        data: The images of the first one, for real sounds; None without.
        kinds: What is asked, of `possible_kinds`.
        n_trials: Questions of each kind, at least four times as many as runs.
        phase: How all sounds find their phase.
        seed: What is drawn, and in which order.

    Raises:
        InputError: If there are not enough sounds that are not silence.
    """
    seeds = count(seed)
    systems: dict[str, System] = {name: Generated(trained, seeds) for name, trained in runs.items()}
    first = next(iter(runs.values()))
    if data is not None:
        systems[REAL] = Recorded(first, data, seed)
    known = {trained.class_names for trained in runs.values()}
    n_classes = len(first.class_names) if len(known) == 1 else 0
    rng = np.random.default_rng(derive_seed(seed, "blind"))
    questions = _questions(list(runs), data is not None, kinds, n_trials, n_classes, rng)

    player = _Player(
        [trained.settings for trained in runs.values()], [lengths(trained, None)[0] for trained in runs.values()]
    )
    reconstruct = {name: phase(system.trained.settings) for name, system in systems.items()}
    asked = [(name, question.label) for question in questions for name in question.systems]
    sounds, origins, n_silent = [], [], dict.fromkeys(systems, 0)
    for name, label in each(asked, "blind", "sound"):
        for _ in range(_N_DRAWN_FOR_ONE):
            source, magnitude = systems[name].draw(label)
            waveform = player.play(magnitude, systems[name].trained, reconstruct[name])
            if waveform is not None:
                break
            n_silent[name] += 1
        else:
            raise InputError(f"{name}: {_N_DRAWN_FOR_ONE} sounds in a row are silence, which nobody can judge")
        sounds.append(waveform)
        origins.append(f"{name}: {source}")
    gain = min(1.0, 10.0 ** (_PEAK_DB / 20.0) / float(np.abs(sounds).max()))

    # Where a sound stands says nothing, neither in a question nor in the page.
    order = rng.permutation(len(asked)).tolist()
    numbers = iter(np.argsort(order).tolist())
    trials = tuple(
        Trial(question.kind, tuple(next(numbers) for _ in question.systems), question.systems, question.right)
        for question in questions
    )
    content = {
        "trials": [{"kind": trial.kind, "sounds": trial.sounds} for trial in trials],
        "sounds": [_wav(gain * sounds[index], player.sample_rate) for index in order],
    }
    # Of nothing but what listeners have anyway.
    test = hashlib.blake2b(json.dumps(content).encode(), digest_size=6).hexdigest()
    about = {
        "seed": seed,
        "sample_rate": player.sample_rate,
        "n_samples": player.n_samples,
        "loudness_lufs": round(_LOUDNESS + 20.0 * math.log10(gain), 2),
        "n_silent": n_silent,
    }
    systems_about = {name: system.about for name, system in systems.items()}
    key = Key(test, systems_about, trials, tuple(origins[index] for index in order), about)
    template = files("gan.listen").joinpath("blind.html").read_text(encoding="utf-8")
    return BlindTest(key, template.replace("%TEST%", json.dumps({"id": test} | content)))


def _questions(
    runs: list[str], real: bool, kinds: Sequence[Kind], n_trials: int, n_classes: int, rng: np.random.Generator
) -> list[_Question]:
    """What is asked, each kind's in random order: as much of each system and each answer as of the others.

    The sounds of an ABX question are of one class, or the class would tell; of real and generated ones each class is
    heard as often.
    """
    questions = []
    for kind in kinds:
        cases: list[tuple[tuple[str, ...], str | None]]
        if kind == "quality":
            cases = [((name,), None) for name in (*runs, *([REAL] if real else []))]
        elif kind == "origin":
            cases = [case for name in runs for case in (((name,), "generated"), ((REAL,), "real"))]
        else:
            cases = [((*pair, pair["AB".index(right)]), right) for pair in (runs, runs[::-1]) for right in ("A", "B")]
        # If there are some too many for each case to come as often, chance has it which come more often.
        cases = [cases[place] for place in rng.permutation(len(cases))]
        asked = []
        for number in range(n_trials):
            turn, case = divmod(number, len(cases))
            asked.append(_Question(kind, *cases[case], turn % n_classes if n_classes else None))
        questions += [asked[place] for place in rng.permutation(n_trials)]
    return questions


class _Player:
    """Plays sounds of several runs so that all are of one rate, length and loudness.

    Args:
        settings: The grid of each run's images.
        n_samples: Length of each run's sounds at its own rate.
    """

    def __init__(self, settings: Sequence[SpectrogramSettings], n_samples: Sequence[int]) -> None:
        rates = [grid.sample_rate for grid in settings]
        self.sample_rate = min(rates)
        self.n_samples = min(n * self.sample_rate // rate for n, rate in zip(n_samples, rates, strict=True))

    def play(
        self, magnitude: Tensor, trained: Trained, reconstruct: Callable[[Tensor, int], Tensor]
    ) -> NDArray[np.float32] | None:
        """A sound at `_LOUDNESS`, shape (n_samples,), whose peak may lie above full scale; None if it is silence."""
        scale, rate = trained.scale, trained.settings.sample_rate
        if float(db_from_magnitude(magnitude, top_db=None).max()) < scale.floor_db + _SILENT_PART * scale.range_db:
            return None
        n_samples = min(lengths(trained, None)[0], -(-self.n_samples * rate // self.sample_rate))
        waveform = reconstruct(magnitude[:, : trained.settings.n_frames(n_samples)].to(trained.gan.device), n_samples)
        waveform = torch.from_numpy(soxr.resample(waveform.cpu().numpy(), rate, self.sample_rate)[: self.n_samples])
        fade_ends(waveform, self.sample_rate)
        # What levels mean depends on the run; loudness is gated by absolute ones.
        waveform = (waveform / waveform.abs().max().clamp_min(1e-12)).double()
        level = loudness(waveform.numpy(), self.sample_rate)
        return (waveform * 10.0 ** ((_LOUDNESS - level) / 20.0)).numpy() if math.isfinite(level) else None


def _wav(waveform: NDArray[np.float64], sample_rate: int) -> str:
    """A sound file with nothing in it but its samples, base64."""
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate, "PCM_16", format="WAV")
    return base64.b64encode(file.getvalue()).decode()
