"""The demo set: short labelled sounds of eight instruments, made on the spot, offline, as recordings and as images."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from filelock import FileLock
from joblib import Parallel, delayed
from numpy.typing import NDArray

from gan.data import instruments
from gan.data.signals import N_SAMPLES, SAMPLE_RATE, Array, filtered, highpass
from gan.errors import InputError
from gan.files import atomic_write, remove_parts
from gan.progress import Progress, say
from gan.sound.encoder import encode_recordings
from gan.sound.settings import SpectrogramSettings

__all__ = ["DEMO_SETTINGS", "KINDS", "N_SAMPLES", "SAMPLE_RATE", "VERSION", "make_demo", "synthesize"]

VERSION = 2
"""Version of the sounds that are made; what a folder holds stands in its version.txt, which version 1 did not write."""

DEMO_SETTINGS = SpectrogramSettings(sample_rate=SAMPLE_RATE, n_fft=512, hop_length=128, win_length=512)

_VERSION_FILE = "version.txt"
_RECORDINGS = "*/*.wav"
_IMAGES = "*/*.wav.0000.png"
_PEAK = 0.9
_QUIETEST_DB = -15.0
# Noise that starts at its full level is a step, which no recording at this rate has.
_RISE_SECONDS = 0.001
_FADE_SECONDS = 0.2
# Below hearing: no offset is left to the lowest row of an image.
_AUDIBLE = highpass(20.0)


def _note(rng: np.random.Generator, lowest: int, highest: int) -> float:
    """Pitch in Hz of a random note, 69 being 440 Hz, a few cents off as players are."""
    return 440.0 * 2.0 ** ((rng.integers(lowest, highest, endpoint=True) - 69 + rng.normal(0, 0.06)) / 12)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _pluck(rng: np.random.Generator, force: float) -> Array:
    return instruments.pluck(
        _note(rng, 40, 69),
        rng,
        t60=_log_uniform(rng, 0.8, 3.0),
        damping=_log_uniform(rng, 0.1, 0.5),
        position=rng.uniform(0.08, 0.4),
        cutoff=_log_uniform(rng, 0.7, 1.4) * 1000 * 5**force,
    )


def _bell(rng: np.random.Generator, force: float) -> Array:
    return instruments.bell(
        _note(rng, 67, 81),
        rng,
        ratio=rng.choice([1.4, 1.6, 1.73, 2.41]) * rng.uniform(0.98, 1.02),
        index=rng.uniform(2.5, 4) + 4 * force,
        t60=_log_uniform(rng, 2.0, 6.0),
        beating=rng.uniform(0.5, 5),
    )


def _marimba(rng: np.random.Generator, force: float) -> Array:
    f0 = _note(rng, 48, 84)
    # Low bars are long and ring on; high ones are short and dry.
    t60 = rng.uniform(0.8, 1.3) * (262 / f0) ** 0.6
    contact = _log_uniform(rng, 0.7, 1.4) * 0.0015 / 5**force
    return instruments.marimba(f0, rng, t60=t60, contact=contact, knock=rng.uniform(0.03, 0.25))


def _flute(rng: np.random.Generator, force: float) -> Array:
    return instruments.flute(
        _note(rng, 65, 88),
        rng,
        brightness=rng.uniform(0.2, 0.4) + 0.25 * force,
        breath=_log_uniform(rng, 0.01, 0.06),
        vibrato=rng.uniform(5, 30),
        length=rng.uniform(0.6, 1.0),
    )


def _voice(rng: np.random.Generator, force: float) -> Array:
    f0 = _note(rng, 43, 64)
    start, end = rng.choice(list(instruments.VOWELS), 2)
    return instruments.voice(
        f0,
        rng,
        vowels=(start, end if rng.random() < 0.5 else start),
        # High voices belong to small people, mostly.
        tract=(f0 / 115) ** 0.25 * rng.uniform(0.93, 1.07),
        tilt=_log_uniform(rng, 0.7, 1.4) * 800 * 5**force,
        breath=_log_uniform(rng, 0.04, 0.2),
        vibrato=rng.uniform(5, 70),
        length=rng.uniform(0.6, 1.0),
    )


def _kick(rng: np.random.Generator, force: float) -> Array:
    return instruments.kick(
        rng.uniform(42, 75),
        rng,
        sweep=rng.uniform(2, 6),
        fall=_log_uniform(rng, 0.012, 0.06),
        t60=_log_uniform(rng, 0.25, 0.9),
        drive=rng.uniform(0.5, 1) + 1.5 * force,
        click=rng.uniform(0.1, 0.5) * (0.3 + force),
    )


def _snare(rng: np.random.Generator, force: float) -> Array:
    return instruments.snare(
        rng.uniform(150, 260),
        rng,
        t60=_log_uniform(rng, 0.12, 0.4),
        wires=rng.uniform(0.4, 0.9) + 0.5 * force,
        wires_t60=_log_uniform(rng, 0.2, 0.7),
        cutoff=rng.uniform(700, 1800),
    )


def _hat(rng: np.random.Generator, force: float) -> Array:
    closed = rng.random() < 0.5
    return instruments.hat(
        rng,
        t60=_log_uniform(rng, 0.06, 0.2) if closed else _log_uniform(rng, 0.5, 1.3),
        size=_log_uniform(rng, 0.8, 1.4),
        metal=rng.uniform(0.3, 0.7),
        cutoff=rng.uniform(4500, 6000) - 1000 * force,
    )


_PLAYERS: dict[str, Callable[[np.random.Generator, float], Array]] = {
    "bell": _bell,
    "flute": _flute,
    "hat": _hat,
    "kick": _kick,
    "marimba": _marimba,
    "pluck": _pluck,
    "snare": _snare,
    "voice": _voice,
}
KINDS: tuple[str, ...] = tuple(_PLAYERS)


def synthesize(kind: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """One random sound of a kind: pitch, timbre, decay and force of the player are drawn.

    Args:
        kind: One of KINDS.
        rng: Draws everything.

    Returns:
        Shape (N_SAMPLES,) at SAMPLE_RATE, peak between -16 and -1 dB of full scale; the harder, the louder.
    """
    force = rng.uniform()
    sound = _PLAYERS[kind](rng, force)
    n_rise = round(_RISE_SECONDS * SAMPLE_RATE)
    sound[:n_rise] *= 0.5 - 0.5 * np.cos(np.arange(n_rise) * (math.pi / n_rise))
    sound = filtered(sound, _AUDIBLE)
    n_fade = round(_FADE_SECONDS * SAMPLE_RATE)
    sound[-n_fade:] *= 0.5 + 0.5 * np.cos(np.linspace(0, math.pi, n_fade))
    sound *= _PEAK * 10 ** (_QUIETEST_DB * (1 - force) / 20) / np.abs(sound).max()
    return sound.astype(np.float32)


def make_demo(folder: Path, n_sounds: int = 1300, seed: int = 0) -> None:
    """Make the demo set: `recordings/<kind>/<kind>_<index>.wav`, and `images/` encoded from them.

    Sound number index is of kind index modulo the number of kinds, and is drawn from (seed, index) alone: a larger
    set begins with a smaller one. Files that are there already are kept, so a call that was killed is finished by the
    next one; for another seed take another folder. A set that an earlier version made is kept too, and a line says that
    there is a newer one. It is made where the old one is no longer.

    Args:
        folder: Where to; of several processes that are told to make it at once, one does and the others wait.
        n_sounds: How many; below the number of kinds some kinds are missing.
        seed: Not negative.

    Raises:
        InputError: If a number is out of range, or a recording or a version that was there already cannot be read.
    """
    if n_sounds < 1 or seed < 0:
        raise InputError(f"{n_sounds} sounds with seed {seed} cannot be made; n_sounds is at least 1, seed at least 0")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        _make_demo(folder, n_sounds, seed)


def _make_demo(folder: Path, n_sounds: int, seed: int) -> None:
    recordings = folder / "recordings"
    if recordings.is_dir():
        remove_parts(recordings)
    version = _version(folder)
    if version is None:
        with atomic_write(folder / _VERSION_FILE) as part:
            part.write_text(f"{VERSION}\n")
    elif version < VERSION:
        say(
            f"note: {folder} holds version {version} of the demo set, which goes on being used; version {VERSION} has "
            f"cleaner sounds: rename or delete {folder} to have it made anew"
        )
    # Threads: transforms, and waiting for the disk to have each file, run outside of Python's lock.
    made = Parallel(n_jobs=-1, backend="threading", return_as="generator_unordered")(
        delayed(_make_recording)(folder, index, seed, version in (None, VERSION)) for index in range(n_sounds)
    )
    with Progress("synthesize", "sound", n_sounds) as progress:
        for there in made:
            progress.advance(there=there)
    if not any(recordings.glob(_RECORDINGS)):
        return
    report = encode_recordings(recordings, folder / "images", DEMO_SETTINGS)
    if report.skipped:
        raise InputError(f"{report.skipped[0]}; delete it and make the demo set again")


def _version(folder: Path) -> int | None:
    """Version of the sounds in a folder; None if there are none yet."""
    if not (any((folder / "recordings").glob(_RECORDINGS)) or any((folder / "images").glob(_IMAGES))):
        return None
    path = folder / _VERSION_FILE
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 1
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: holds no number, and the version of the demo set was expected; delete this file, the sounds stay"
        ) from error


def _make_recording(folder: Path, index: int, seed: int, same_version: bool) -> bool:
    """Returns whether it was there already, as a recording or as an image of another version."""
    kind = KINDS[index % len(KINDS)]
    name = f"{kind}/{kind}_{index:04d}.wav"
    path = folder / "recordings" / name
    # A recording made now would replace the image that a run was trained on.
    if path.exists() or (not same_version and (folder / "images" / f"{name}.0000.png").exists()):
        return True
    sound = synthesize(kind, np.random.default_rng([seed, index]))
    with atomic_write(path) as part:
        soundfile.write(part, sound, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return False
