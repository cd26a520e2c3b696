"""`gan sample`: new sounds of a run, of any length."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jsonargparse import ArgumentParser
from torch import Tensor
from tqdm import tqdm

from gan.errors import InputError
from gan.listen.page import INDEX, write_page
from gan.run import Trained, checkpoints_of, load_run
from gan.seed import derive_seed
from gan.sound.codec import encode_image
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.recording import gain_that_fits, write_recording
from gan.sound.spectrogram import db_from_image, magnitude_from_db

# Seconds of sound in all, above which a slip is likelier than a wish.
_ABSURD_SECONDS = 2 * 3600
# Ends begin and stop in the middle of a sound, which would click.
_FADE_SECONDS = 0.005


def sample(
    run: Path,
    n: int = 8,
    seconds: float | None = None,
    seed: int = 0,
    label: str | None = None,
    truncation: float = 1.0,
    format: Literal["wav", "flac"] = "wav",  # noqa: A002 - the option's name
    output: Path | None = None,
    overwrite: bool = False,
    long: bool = False,
    phase: PhaseMethod = DeepGriffinLim,
    device: str = "cpu",
) -> int:
    """Write new sounds, each beside its picture, and a page to listen to them.

    The best checkpoint is sampled if there is one, else the newest. A generator of gan.model.endless makes sounds of
    any length, every other one those of the crops that it was trained on. Names and comments of the files say seed,
    label and checkpoint; the same seed makes the same file, and a longer one goes on where a shorter one stops.
    Pictures are like those of `gan encode`: `gan decode` turns them into sound again.

    Args:
        run: A run's folder, or one of its checkpoints.
        n: How many sounds; they have the seeds from `seed` on.
        seconds: Length of each; that of a crop if not given.
        seed: Seed of the first sound.
        label: The class to be heard; all in turn if not given. For runs that were told the labels.
        truncation: Factor of the latents. Below 1 sounds are more typical and less different from each other.
        format: Kind of sound file.
        output: A folder; RUN/samples if not given.
        overwrite: Replace files that are there.
        long: Make hours of sound without asking back.
        phase: How the phase is found; see `gan decode --help`.
        device: Where to generate.

    Returns:
        Exit code.
    """
    _check(n, seconds, truncation, long)
    folder, checkpoints = checkpoints_of(run)
    checkpoint = checkpoints.get("best", next(iter(checkpoints.values())))
    trained = load_run(folder, checkpoint, device)
    labels = _labels(trained, label)
    n_samples, latent_length = _lengths(trained, seconds)
    output = folder.folder / "samples" if output is None else output
    described = {}
    for each in range(seed, seed + n):
        chosen = labels[each % len(labels)] if labels else None
        name = _name(checkpoint, each, None if chosen is None else trained.class_names[chosen], seconds, truncation)
        described[output / f"{name}.{format}"] = each, chosen
    _refuse_existing(described, overwrite)

    reconstruct = phase(trained.settings)
    for path, (each, chosen) in (bar := tqdm(described.items(), desc="sample", unit="sound", disable=None)):
        latents = truncation * _latents(each, latent_length)
        magnitude = _magnitude(trained, latents, None if chosen is None else torch.tensor([chosen]))
        n_frames = trained.settings.n_frames(n_samples)
        waveform = reconstruct(magnitude[:, :n_frames].to(device), n_samples).cpu()
        gain = gain_that_fits(float(waveform.abs().max()))
        comment = f"run {folder.folder.name}, checkpoint {checkpoint.name}, batch {trained.batches_seen}, seed {each}"
        comment += "" if chosen is None else f", label {trained.class_names[chosen]}"
        comment += "" if truncation == 1 else f", truncation {truncation:g}"
        encode_image(path.with_suffix(".png"), magnitude[:, :n_frames], trained.settings, None, comment)
        _fade(waveform, trained.settings.sample_rate)
        write_recording(path, (gain * waveform).numpy(), trained.settings.sample_rate, "PCM_16", comment)
        loud = f", made {-20 * math.log10(gain):.1f} dB quieter so that it does not clip" if gain < 1 else ""
        bar.write(f"{path}: {n_samples / trained.settings.sample_rate:.2f} s{loud}")
    write_page(output)
    print(f"to listen, open {output / INDEX}")
    return 0


def _check(n: int, seconds: float | None, truncation: float, long: bool) -> None:
    if n < 1:
        raise InputError(f"n is {n}; it must be 1 or more")
    if not 0 <= truncation <= 2:
        raise InputError(f"truncation is {truncation}; it must lie in [0, 2], 1 is as the run was trained")
    if seconds is None:
        return
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InputError(f"seconds is {seconds}; it must be above 0")
    if n * seconds > _ABSURD_SECONDS and not long:
        raise InputError(
            f"{n} sounds of {seconds:g} s are {n * seconds / 3600:.1f} hours; if that is meant, say so with --long"
        )


def _labels(trained: Trained, label: str | None) -> list[int]:
    """The classes to be heard in turn; empty if the networks know none."""
    if label is None:
        return list(range(len(trained.class_names)))
    if not trained.class_names:
        raise InputError(f"label is {label}, but this run was not told the labels; see configs/conditional.yaml")
    if label not in trained.class_names:
        raise InputError(f"label is {label}; this run knows {', '.join(trained.class_names)}")
    return [trained.class_names.index(label)]


def _lengths(trained: Trained, seconds: float | None) -> tuple[int, int]:
    """Samples of a sound, and numbers of its latent."""
    settings = trained.settings
    n_crop = settings.n_samples(trained.n_frames)
    n_samples = n_crop if seconds is None else max(1, round(seconds * settings.sample_rate))
    if (latent_length := getattr(trained.gan.generator, "latent_length", None)) is not None:
        return n_samples, latent_length(settings.n_frames(n_samples))
    if n_samples > n_crop:
        raise InputError(
            f"seconds is {seconds:g}, but the generator of this run makes images of {trained.n_frames} frames, "
            f"{n_crop / settings.sample_rate:.2f} s; one that makes any length is trained with configs/endless.yaml"
        )
    return n_samples, trained.gan.latent_dim


def _latents(seed: int, length: int) -> Tensor:
    # Drawn one after the other, which torch's are not: a longer latent begins with the shorter one.
    rng = np.random.default_rng(derive_seed(seed, "sample"))
    return torch.from_numpy(rng.standard_normal((1, length), dtype=np.float32))


def _magnitude(trained: Trained, latents: Tensor, labels: Tensor | None) -> Tensor:
    """Shape (n_freqs, n_frames), on the CPU; a bounded number of images' frames is held beside it."""
    endless = hasattr(trained.gan.generator, "latent_blocks")
    blocks = trained.gan.sample_blocks(latents, labels) if endless else [trained.gan.sample(latents, labels)]
    scale = trained.scale
    return torch.cat([magnitude_from_db(db_from_image(block[0, 0].float().cpu(), scale)) for block in blocks], dim=1)


def _fade(waveform: Tensor, sample_rate: int) -> None:
    n_fade = min(round(_FADE_SECONDS * sample_rate), len(waveform) // 2)
    fade = torch.linspace(0.0, 1.0, n_fade)
    waveform[:n_fade] *= fade
    waveform[len(waveform) - n_fade :] *= fade.flip(0)


def _name(checkpoint: Path, seed: int, label: str | None, seconds: float | None, truncation: float) -> str:
    parts = [checkpoint.stem, f"seed_{seed:04d}"]
    # A label may be a folder's name of any kind.
    parts += [] if label is None else ["".join(letter if letter.isalnum() else "-" for letter in label)]
    parts += [] if truncation == 1 else [f"truncation_{truncation:g}"]
    parts += [] if seconds is None else [f"{seconds:g}s"]
    return "_".join(parts)


def _refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    for path in paths:
        for target in (path, path.with_suffix(".png")):
            if target.exists() and not overwrite:
                raise InputError(f"{target} is there already; give --overwrite, another --seed or another --output")


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan sample` and run it."""
    parser = ArgumentParser(prog="gan sample", description=(sample.__doc__ or "").split("Args:")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that are there.")
    parser.add_argument("--long", action="store_true", help="Make hours of sound without asking back.")
    parser.add_function_arguments(sample, skip={"run", "overwrite", "long"})
    if any(argument.split("=")[0] == "--phase" for argument in arguments):
        # Else a method that is named would take over the options of the one that it replaces.
        parser.set_defaults({"phase": None})
    parsed = parser.parse_args(list(arguments))
    return sample(**{**parsed.as_dict(), "phase": parser.instantiate(parsed).phase})
