"""What a trained model makes, written as sounds beside their pictures."""

import math
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan.errors import InputError
from gan.evaluate.latents import Latent
from gan.files import refuse_unwritable
from gan.seed import derive_seed
from gan.sound.codec import encode_image
from gan.sound.recording import write_recording
from gan.sound.spectrogram import db_from_image, magnitude_from_db
from gan.trained import Trained

# Of the files that keep what `gan invert` found.
LATENT_SUFFIX = ".latent.safetensors"
# Seconds of sound in all, above which a slip is likelier than a wish.
_ABSURD_SECONDS = 2 * 3600
_FADE_SECONDS = 0.005


def check_seconds(n: int, seconds: float | None, long: bool) -> None:
    """Refuse a length that is none, and hours that nobody asked for twice.

    Args:
        n: Number of sounds.
        seconds: Length of each; None for that of a crop.
        long: Whether hours are meant.

    Raises:
        InputError: If it is refused.
    """
    if seconds is None:
        return
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InputError(f"seconds is {seconds}; it must be above 0")
    if n * seconds > _ABSURD_SECONDS and not long:
        raise InputError(
            f"{n} sounds of {seconds:g} s are {n * seconds / 3600:.1f} hours; if that is meant, say so with --long"
        )


def check_truncation(truncation: float) -> None:
    """Refuse factors of latents that no sound comes of.

    Raises:
        InputError: If it lies outside [0, 2].
    """
    if not 0 <= truncation <= 2:
        raise InputError(f"truncation is {truncation}; it must lie in [0, 2], 1 is as the run was trained")


def lengths(trained: Trained, seconds: float | None) -> tuple[int, int]:
    """Samples of a sound of some length, and numbers of its latent.

    Raises:
        InputError: If it is less than a sample, or the generator makes crops only and they are shorter.
    """
    settings = trained.settings
    n_crop = settings.n_samples(trained.n_frames)
    n_samples = n_crop if seconds is None else round(seconds * settings.sample_rate)
    if n_samples < 1:
        raise InputError(f"seconds is {seconds:g}, less than a sample; it must be {1 / settings.sample_rate:g} or more")
    if (latent_length := getattr(trained.gan.generator, "latent_length", None)) is not None:
        return n_samples, latent_length(settings.n_frames(n_samples))
    if n_samples > n_crop:
        raise InputError(
            f"seconds is {seconds:g}, but the generator of this run makes images of {trained.n_frames} frames, "
            f"{n_crop / settings.sample_rate:.2f} s; one that makes any length is trained with configs/endless.yaml"
        )
    return n_samples, trained.gan.latent_dim


def latents_of(seed: int, length: int) -> Tensor:
    """The latent of a seed, shape (1, length), standard normal; a longer one begins with the shorter one."""
    # Drawn one number after the other, which torch's are not.
    rng = np.random.default_rng(derive_seed(seed, "sample"))
    return torch.from_numpy(rng.standard_normal((1, length), dtype=np.float32))


def latent_from(source: str, length: int, trained: Trained) -> tuple[Tensor, str | None]:
    """The latent that a person means, and its class if that is known.

    Args:
        source: A seed, or a file of `gan invert`.
        length: Length of the latent. What a file's has not is the latent of seed 0, of an endless generator.
        trained: What it is for.

    Raises:
        InputError: If it is neither, or a latent of another generator.
    """
    if source.removeprefix("-").isdecimal():
        return latents_of(int(source), length), None
    kept = Latent.load(Path(source))
    n_kept = kept.latent.shape[1]
    if n_kept != length and not hasattr(trained.gan.generator, "latent_length"):
        raise InputError(f"{source}: a latent of {n_kept} numbers, but this run's have {length}; it is another run's")
    return torch.cat([kept.latent, latents_of(0, length)[:, n_kept:]], 1)[:, :length], kept.label


def magnitude_of(trained: Trained, blocks: Iterable[Tensor]) -> Tensor:
    """The magnitude, shape (n_freqs, n_frames), on the CPU, of images (1, 1, n_freqs - 1, n_frames) in a row."""
    parts = [magnitude_from_db(db_from_image(block[0, 0].float().cpu(), trained.scale)) for block in blocks]
    return torch.cat(parts, dim=1)


def class_of(trained: Trained, label: str) -> int:
    """The number of a class.

    Raises:
        InputError: If the networks do not know it.
    """
    if not trained.class_names:
        raise InputError(f"label is {label}, but this run was not told the labels; see configs/conditional.yaml")
    if label not in trained.class_names:
        raise InputError(f"label is {label}; this run knows {', '.join(trained.class_names)}")
    return trained.class_names.index(label)


def class_of_seed(trained: Trained, label: str | None, seed: int) -> int | None:
    """The number of the class of a seed's sound: all in turn if none is asked for; None without classes.

    Raises:
        InputError: If the networks do not know the one that is asked for.
    """
    if label is not None:
        return class_of(trained, label)
    return seed % len(trained.class_names) if trained.class_names else None


def in_a_name(label: str) -> str:
    """A label, which may be any folder's name, as part of a file's name."""
    return "".join(letter if letter.isalnum() else "-" for letter in label)


def refuse_existing(paths: Collection[Path], overwrite: bool) -> None:
    """Nothing is replaced that nobody asked to replace, and nothing is made that cannot be kept.

    Args:
        paths: Sounds of one folder.
        overwrite: Whether somebody asked.

    Raises:
        InputError: If one of the sounds or its picture is there, or their folder cannot be written to.
    """
    refuse_unwritable(next(iter(paths)).parent)
    for path in paths:
        for target in (path, path.with_suffix(".png")):
            if target.exists() and not overwrite:
                raise InputError(f"{target} is there already; give --overwrite, another --seed or another --output")


def fade_ends(waveform: Tensor, sample_rate: int) -> None:
    """Fade the ends of a waveform, shape (n_samples,), which may lie in the middle of a sound and would click."""
    n_samples = len(waveform)
    n_fade = min(round(_FADE_SECONDS * sample_rate), n_samples // 2)
    fade = torch.linspace(0.0, 1.0, n_fade)
    waveform[:n_fade] *= fade
    waveform[n_samples - n_fade :] *= fade.flip(0)


def write_sound(
    path: Path,
    magnitude: Tensor,
    n_samples: int,
    trained: Trained,
    reconstruct: Callable[[Tensor, int], Tensor],
    comment: str,
) -> str:
    """Write a sound and, beside it, its picture.

    Args:
        path: The sound file; its suffix says the format.
        magnitude: Shape (n_freqs, at least n_frames of n_samples).
        n_samples: Length of the sound.
        trained: What made it.
        reconstruct: Magnitude to waveform.
        comment: Text in both files.

    Returns:
        What to say of it.
    """
    magnitude = magnitude[:, : trained.settings.n_frames(n_samples)]
    waveform = reconstruct(magnitude.to(trained.gan.device), n_samples).cpu()
    fade_ends(waveform, trained.settings.sample_rate)
    encode_image(path.with_suffix(".png"), magnitude, trained.settings, description=comment)
    note = write_recording(path, waveform.numpy(), trained.settings.sample_rate, comment=comment).note
    return f"{path}: {n_samples / trained.settings.sample_rate:.2f} s{', ' if note else ''}{note}"
