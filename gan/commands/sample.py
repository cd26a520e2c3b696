"""`gan sample`: new sounds of a run, of any length."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gan.commands.parser import parser_of
from gan.commands.parsing import parse_with_phase
from gan.errors import InputError
from gan.listen.page import INDEX, write_page
from gan.listen.render import (
    LATENT_SUFFIX,
    check_seconds,
    check_sounds,
    check_truncation,
    class_of_seed,
    in_a_name,
    latent_from,
    lengths,
    magnitude_of,
    write_sound,
)
from gan.progress import Progress, say
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.trained import load_best


def sample(
    run: Path,
    n: int = 8,
    seconds: float | None = None,
    seed: int = 0,
    latent: Path | None = None,
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
        latent: A file of `gan invert`, whose sound is made instead of those of seeds.
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
    if n < 1:
        raise InputError(f"n is {n}; it must be 1 or more")
    check_seconds(n, seconds, long)
    check_truncation(truncation)
    if latent is not None and not latent.is_file():
        raise InputError(f"{latent}: no such file; latent is a file of `gan invert`, seed a number")
    trained = load_best(run, device)
    n_samples, latent_length = lengths(trained, seconds)
    check_seconds(n, n_samples / trained.settings.sample_rate, long)
    output = trained.run.folder / "samples" if output is None else output
    wanted = [str(each) for each in range(seed, seed + n)] if latent is None else [str(latent)]
    sounds: dict[Path, tuple[Tensor, int | None, str]] = {}
    for source in wanted:
        latents, kept_label = latent_from(source, latent_length, trained)
        asked = label if label is not None else kept_label
        chosen = class_of_seed(trained, asked, seed if latent else int(source))
        name = f"seed_{int(source):04d}" if latent is None else latent.name.removesuffix(LATENT_SUFFIX)
        parts = [name] if latent is not None else [trained.checkpoint.stem, name]
        parts += [] if chosen is None else [in_a_name(trained.class_names[chosen])]
        parts += [] if truncation == 1 else [f"truncation_{truncation:g}"]
        parts += [] if seconds is None else [f"{seconds:g}s"]
        comment = f"{trained.about}, "
        comment += f"seed {source}" if latent is None else f"latent {latent.name}"
        comment += "" if chosen is None else f", label {trained.class_names[chosen]}"
        comment += "" if truncation == 1 else f", truncation {truncation:g}"
        sounds[output / f"{'_'.join(parts)}.{format}"] = truncation * latents, chosen, comment
    check_sounds(sounds, trained, overwrite, [] if latent is None else [latent])

    reconstruct = phase(trained.settings)
    with Progress("sample", "sound", len(sounds)) as progress:
        for path, (latents, chosen, comment) in progress.over(sounds.items()):
            labels = None if chosen is None else torch.tensor([chosen])
            magnitude = magnitude_of(trained, trained.gan.sample_blocks(latents, labels))
            say(write_sound(path, magnitude, n_samples, trained, reconstruct, comment))
    write_page(output)
    print(f"to listen, open {output / INDEX}")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan sample` and run it."""
    parser = parser_of(sample)
    parser.add_argument("run", type=Path, metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that are there.")
    parser.add_argument("--long", action="store_true", help="Make hours of sound without asking back.")
    parser.add_function_arguments(sample, skip={"run", "overwrite", "long"})
    return sample(**parse_with_phase(parser, arguments))
