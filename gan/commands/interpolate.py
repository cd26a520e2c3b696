"""`gan interpolate`: from one sound of a run to another."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gan.commands.parser import parser_of
from gan.commands.parsing import parse_with_phase
from gan.errors import InputError
from gan.listen.page import INDEX, write_page
from gan.listen.render import (
    LATENT_SUFFIX,
    check_seconds,
    check_sounds,
    check_truncation,
    class_of,
    in_a_name,
    latent_from,
    lengths,
    magnitude_of,
    write_sound,
)
from gan.progress import Progress, say
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.trained import Trained, load_best


def interpolate(
    run: Path,
    seeds: list[str],
    labels: list[str] | None = None,
    steps: int = 8,
    seconds: float | None = None,
    truncation: float = 1.0,
    format: Literal["wav", "flac"] = "wav",  # noqa: A002 - the option's name
    output: Path | None = None,
    overwrite: bool = False,
    long: bool = False,
    phase: PhaseMethod = DeepGriffinLim,
    device: str = "cpu",
) -> int:
    """Travel between sounds of a run, and write what is on the way.

    Sounds are those that `gan sample` makes of the same seeds. On the way from one to the next, latents move along a
    great circle, so that they stay as long as latents are, and labels fade into each other. Without `seconds` the
    result is a series of sounds; with it, one sound of that length which changes all the time, by a generator of
    gan.model.endless. A page to listen is written beside it.

    Args:
        run: A run's folder, or one of its checkpoints.
        seeds: Seeds of the sounds to travel between, or files of `gan invert`; a single one if there are labels to
            travel between.
        labels: Class of each seed, or one for all. For runs that were told the labels; those that files know if not
            given.
        steps: Sounds from one seed to the next.
        seconds: Length of one sound of all the way.
        truncation: Factor of the latents, see `gan sample`.
        format: Kind of sound file.
        output: A folder; RUN/travels if not given.
        overwrite: Replace files that are there.
        long: Make hours of sound without asking back.
        phase: How the phase is found; see `gan decode --help`.
        device: Where to generate.

    Returns:
        Exit code.
    """
    check_seconds(1, seconds, long)
    check_truncation(truncation)
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be 1 or more")
    trained = load_best(run, device)
    if seconds is not None and not hasattr(trained.gan.generator, "travel"):
        raise InputError("seconds is given, but this run's generator makes crops only; see configs/endless.yaml")
    n_samples, latent_length = lengths(trained, seconds)
    seeds = seeds * len(labels) if labels and len(seeds) == 1 else seeds
    latents, known = zip(*(latent_from(seed, latent_length, trained) for seed in seeds), strict=True)
    classes = _classes(trained, len(seeds), labels, known)
    output = trained.run.folder / "travels" if output is None else output
    name = f"{trained.checkpoint.stem}_seeds_{'_'.join(Path(seed).name.removesuffix(LATENT_SUFFIX) for seed in seeds)}"
    name += f"_{'_'.join(in_a_name(trained.class_names[number]) for number in classes)}" if classes else ""
    name += "" if truncation == 1 else f"_truncation_{truncation:g}"
    # How far the way has come at each sound: 1.5 is half-way from the second seed to the third.
    n_sounds = steps * (len(seeds) - 1) + 1 if seconds is None else 1
    check_seconds(n_sounds, n_samples / trained.settings.sample_rate, long)
    shares = [place / steps for place in range(n_sounds)]
    ends_of_names = [f"{place:03d}" for place in range(n_sounds)] if seconds is None else [f"{seconds:g}s"]
    paths = [output / f"{name}_{end}.{format}" for end in ends_of_names]
    check_sounds(paths, trained, overwrite, map(Path, seeds))

    ends = truncation * torch.cat(latents)
    weights = one_hot(torch.tensor(classes), len(trained.class_names)).float() if classes else None
    reconstruct = phase(trained.settings)
    about = f"{trained.about}, seeds "
    about += ", ".join(seeds) + "".join(f", {trained.class_names[number]}" for number in classes)
    if seconds is not None:
        magnitude = magnitude_of(trained, _travel(trained, ends, weights))
        print(write_sound(paths[0], magnitude, n_samples, trained, reconstruct, about))
    else:
        with Progress("interpolate", "sound", len(paths)) as progress:
            for share, path in progress.over(zip(shares, paths, strict=True)):
                mixed = None if weights is None else between(weights, share, torch.lerp)
                images = trained.gan.sample(between(ends, share, slerp), mixed)
                comment = f"{about}, at {share:g}"
                say(write_sound(path, magnitude_of(trained, [images]), n_samples, trained, reconstruct, comment))
    write_page(output)
    print(f"to listen, open {output / INDEX}")
    return 0


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Along a great circle (Shoemake 1985, section 3.3), lengths between those of the ends.

    Args:
        start: Shape (..., dim).
        end: The same shape.
        share: Of the way, in [0, 1].
    """
    product = start.norm(dim=-1, keepdim=True) * end.norm(dim=-1, keepdim=True)
    cosine = ((start * end).sum(-1, keepdim=True) / product.clamp_min(1e-12)).clamp(-1, 1)
    angle = cosine.double().acos()
    # Of ends that lie in one direction, in opposite ones, or in none, there is no circle, or too many.
    straight = (angle.sin() < 1e-4) | (product == 0)
    sine = torch.where(straight, 1.0, angle.sin())
    first = torch.where(straight, 1.0 - share, ((1.0 - share) * angle).sin() / sine).to(start.dtype)
    second = torch.where(straight, share, (share * angle).sin() / sine).to(start.dtype)
    return first * start + second * end


def between(ends: Tensor, share: float, path: Callable[[Tensor, Tensor, float], Tensor]) -> Tensor:
    """What lies on the way between several ends, shape (1, dim).

    Args:
        ends: Shape (n, dim).
        share: How far, in [0, n - 1].
        path: How two are joined.
    """
    first = min(int(share), len(ends) - 2)
    return path(ends[first : first + 1], ends[first + 1 : first + 2], share - first)


def _classes(trained: Trained, n: int, labels: Sequence[str] | None, known: Sequence[str | None]) -> list[int]:
    """The class of each of n sounds; none without classes."""
    if not labels:
        labels = [label for label in known if label is not None]
        if trained.class_names and len(labels) < n:
            names = ", ".join(trained.class_names)
            raise InputError(f"labels is not given; this run knows {names}: say one for each seed, or one for all")
    classes = [class_of(trained, label) for label in labels]
    if n < 2 or len(classes) not in (0, 1, n):
        raise InputError(
            f"{n} seeds and {len(classes)} labels; give two seeds or more and a label for all or for each, or one seed "
            "and several labels"
        )
    return classes * n if len(classes) == 1 else classes


def _travel(trained: Trained, ends: Tensor, weights: Tensor | None) -> Iterator[Tensor]:
    """Images of one sound of all the way, some hundred frames at a time; what happens when is the first seed's."""
    generator = trained.gan.generator
    whole, _, sequences = generator.parts(ends)
    sequence, n_steps = sequences[:1], sequences.shape[1]
    shares = torch.linspace(0.0, len(ends) - 1.0, n_steps).tolist()
    wholes = torch.stack([between(whole, share, slerp) for share in shares], 1)
    mixed = None if weights is None else torch.stack([between(weights, share, torch.lerp) for share in shares], 1)
    margin = generator.latent_steps(0) - 1
    for first in range(0, n_steps - margin, generator.block_steps):
        part = slice(first, first + generator.block_steps + margin)
        yield trained.gan.sample_travel(wholes[:, part], sequence[:, part], None if mixed is None else mixed[:, part])


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan interpolate` and run it."""
    parser = parser_of(interpolate)
    parser.add_argument("run", type=Path, metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument("--seeds", type=str, nargs="+", default=["0", "1"], help="Seeds or files to travel between.")
    parser.add_argument("--labels", type=str, nargs="+", help="Class of each seed, or one for all.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that are there.")
    parser.add_argument("--long", action="store_true", help="Make hours of sound without asking back.")
    parser.add_function_arguments(interpolate, skip={"run", "seeds", "labels", "overwrite", "long"})
    return interpolate(**parse_with_phase(parser, arguments))
