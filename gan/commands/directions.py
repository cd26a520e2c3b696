"""`gan directions`: what a run's latents hold, an axis at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from gan.commands.parser import parser_of
from gan.commands.parsing import parse_with_phase
from gan.errors import InputError
from gan.evaluate.directions import find_directions
from gan.listen.page import INDEX, write_page
from gan.listen.render import (
    check_sounds,
    class_of_seed,
    in_a_name,
    latents_of,
    lengths,
    magnitude_of,
    write_sound,
)
from gan.progress import Progress, say
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.trained import load_best

# Images that axes are found with, a few for each number of a latent.
_LEAST_SAMPLES, _PER_NUMBER = 1000, 4
# Nobody hears that many of one axis.
_MOST_STEPS = 1000


def directions(
    run: Path,
    n: int = 5,
    steps: int = 5,
    reach: float = 3.0,
    seed: int = 0,
    label: str | None = None,
    format: Literal["wav", "flac"] = "wav",  # noqa: A002 - the option's name
    output: Path | None = None,
    overwrite: bool = False,
    phase: PhaseMethod = DeepGriffinLim,
    device: str = "cpu",
) -> int:
    """Let the strongest axes of a run's latents be heard.

    What is generated is looked at without labels: the directions in which its pictures differ most are found, and for
    each the direction in which a latent has to move. The sound that `gan sample` makes of a seed is then moved along
    each axis, from -reach to reach standard deviations. A page to listen is written beside the sounds.

    Args:
        run: A run's folder, or one of its checkpoints.
        n: Number of axes.
        steps: Sounds along each axis.
        reach: How far from the seed's sound, in standard deviations of latents.
        seed: Seed of the sound that is moved.
        label: Its class; that which `gan sample` makes of the seed if not given. For runs that were told the labels.
        format: Kind of sound file.
        output: A folder; RUN/directions if not given.
        overwrite: Replace files that are there.
        phase: How the phase is found; see `gan decode --help`.
        device: Where to generate.

    Returns:
        Exit code.
    """
    if n < 1:
        raise InputError(f"n is {n}; it must be 1 or more")
    if not 2 <= steps <= _MOST_STEPS:
        raise InputError(f"steps is {steps}; it must lie in [2, {_MOST_STEPS}], 5 is usual")
    if not 0 < reach <= 10:
        raise InputError(f"reach is {reach}; it must lie in (0, 10], 3 is far")
    trained = load_best(run, device)
    most = getattr(trained.gan.generator, "whole_dim", trained.gan.latent_dim)
    if n > most:
        raise InputError(f"n is {n}, but the latents of this run have {most} axes")
    chosen = class_of_seed(trained, label, seed)
    name = f"{trained.checkpoint.stem}_seed_{seed:04d}"
    name += "" if chosen is None else f"_{in_a_name(trained.class_names[chosen])}"
    output = trained.run.folder / "directions" if output is None else output
    places = torch.linspace(-reach, reach, steps).tolist()
    paths = {
        (axis, step): output / f"{name}_axis_{axis + 1:02d}_{step + 1:02d}.{format}"
        for axis in range(n)
        for step in range(steps)
    }
    check_sounds(paths.values(), trained, overwrite)

    found = find_directions(trained.gan, n, max(_LEAST_SAMPLES, _PER_NUMBER * most))
    print("axis: share of the pictures' variance, how much of that follows a straight line")
    for axis in range(n):
        print(f"{axis + 1:4}: {float(found.shares[axis]):.1%}, {float(found.followed[axis]):.1%}")
    n_samples, latent_length = lengths(trained, None)
    latents = latents_of(seed, latent_length)
    labels = None if chosen is None else torch.tensor([chosen])
    reconstruct = phase(trained.settings)
    about = f"{trained.about}, seed {seed}"
    about += "" if chosen is None else f", label {trained.class_names[chosen]}"
    with Progress("directions", "sound", len(paths)) as progress:
        for (axis, step), path in progress.over(paths.items()):
            magnitude = magnitude_of(trained, [trained.gan.sample(latents + places[step] * found.axes[axis], labels)])
            comment = f"{about}, axis {axis + 1} at {places[step]:+.2g}"
            say(write_sound(path, magnitude, n_samples, trained, reconstruct, comment))
    write_page(output)
    print(f"to listen, open {output / INDEX}")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan directions` and run it."""
    parser = parser_of(directions)
    parser.add_argument("run", type=Path, metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that are there.")
    parser.add_function_arguments(directions, skip={"run", "overwrite"})
    return directions(**parse_with_phase(parser, arguments))
