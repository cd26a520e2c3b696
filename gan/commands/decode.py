"""`gan decode`: spectrogram images to recordings."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import soundfile
from jsonargparse import ArgumentParser
from torch import Tensor
from tqdm import tqdm

from gan.errors import InputError
from gan.files import atomic_write
from gan.sound.codec import ImageHeader, decode_image
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.griffin_lim import GriffinLim

Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]

# What a file is scaled to when its samples do not fit: the largest level that no rounding can push over full scale.
_FULL_SCALE = 0.999


def decode(
    images: list[Path], output: Path | None = None, subtype: Subtype = "PCM_16", n_iter: int = 32, seed: int = 0
) -> int:
    """Turn spectrogram images into WAV files, at the level that the recordings had.

    An image holds no phase: it is estimated with fast Griffin-Lim. How near the result's spectrogram comes to the
    image is printed as spectral convergence (-20 dB: good, -30 dB: very good).

    Args:
        images: Image files, or folders of them.
        output: A folder, or a file name for a single image; beside the images if not given.
        subtype: Sample format of the WAV files. FLOAT never clips; the others are scaled down where they would.
        n_iter: Iterations of Griffin-Lim: more sounds better and takes longer.
        seed: Seed of the phase that Griffin-Lim starts from.

    Returns:
        Exit code: 1 if an image was skipped.
    """
    targets = _targets(images, output)
    n_skipped = 0
    for image, target in (bar := tqdm(targets.items(), desc="decode", unit="image", disable=None)):
        try:
            magnitude, header = decode_image(image)
        except InputError as error:
            n_skipped += 1
            bar.write(f"skipped {error}", file=sys.stderr)
            continue
        reconstruct = GriffinLim(header.settings, n_iter=n_iter, seed=seed)
        bar.write(_write_recording(target, magnitude, header, reconstruct, subtype))
    if n_skipped:
        print(f"{n_skipped} of {len(targets)} images were skipped", file=sys.stderr)
    return 1 if n_skipped else 0


def _targets(images: list[Path], output: Path | None) -> dict[Path, Path]:
    """The WAV file of each image."""
    if output is not None and output.suffix.lower() == ".wav":
        if len(images) != 1 or images[0].is_dir():
            raise InputError(f"{output} is one file, but there are several images; give a folder")
        if not images[0].exists():
            raise InputError(f"{images[0]}: no such file; give an image")
        return {images[0]: output}
    targets: dict[Path, Path] = {}
    for given in images:
        if given.is_dir():
            found = sorted(path for path in given.rglob("*.png") if not path.name.startswith("."))
            if not found:
                raise InputError(f"{given}: no images (*.png) in it; make some with `gan encode`")
            root = given
        elif given.exists():
            found, root = [given], given.parent
        else:
            raise InputError(f"{given}: no such file or folder; give an image or a folder of images")
        for path in found:
            targets[path] = (root if output is None else output) / path.relative_to(root).with_suffix(".wav")
    if len(set(targets.values())) < len(targets):
        raise InputError(f"several images would become the same file in {output}; decode them into separate folders")
    return targets


def _write_recording(
    target: Path, magnitude: Tensor, header: ImageHeader, reconstruct: GriffinLim, subtype: Subtype
) -> str:
    settings = header.settings
    waveform = reconstruct(magnitude, header.n_samples)
    peak = float(waveform.abs().max())
    notes = [f"{header.n_samples / settings.sample_rate:.2f} s"]
    if peak > 0:
        notes.append(f"peak {20 * math.log10(peak):.1f} dBFS")
        notes.append(f"spectral convergence {float(spectral_convergence_db(waveform, magnitude, settings)):.1f} dB")
    else:
        notes.append("silence")
    if peak > _FULL_SCALE and subtype != "FLOAT":
        waveform = waveform * (_FULL_SCALE / peak)
        notes.append(f"scaled down by {20 * math.log10(peak / _FULL_SCALE):.1f} dB so that it does not clip")
    try:
        with atomic_write(target) as part:
            soundfile.write(part, waveform.numpy(), settings.sample_rate, subtype, format="WAV")
    except (OSError, soundfile.SoundFileError) as error:
        raise InputError(f"{target}: cannot be written ({error})") from error
    return f"{target}: {', '.join(notes)}"


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan decode` and run it."""
    parser = ArgumentParser(prog="gan decode", description=(decode.__doc__ or "").split("Args:")[0])
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="Image files, or folders of them.")
    parser.add_argument("-o", "--output", type=Path | None, help="A folder, or a file name for a single image.")
    parser.add_function_arguments(decode, skip={"images", "output"})
    given = parser.parse_args(list(arguments))
    return decode(**given.as_dict())
