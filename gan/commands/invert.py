"""`gan invert`: the latent of a run whose sound is nearest to a recording."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gan.commands.parser import parser_of
from gan.commands.parsing import parse_with_phase
from gan.errors import InputError
from gan.evaluate.latents import Latent, find_latent
from gan.listen.page import INDEX, write_page
from gan.listen.render import LATENT_SUFFIX, check_sounds, class_of, lengths, magnitude_of, write_sound
from gan.progress import Progress
from gan.sound.channel import MIX, Channel, check_channel
from gan.sound.inversion import image_from_waveform
from gan.sound.mixdown import Mixdown
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.recording import read_excerpt, read_recording_header
from gan.sound.spectrogram import db_from_magnitude, magnitude_from_waveform
from gan.trained import load_best


def invert(
    run: Path,
    recording: Path,
    start: float = 0.0,
    seconds: float | None = None,
    steps: int = 300,
    seed: int = 0,
    label: str | None = None,
    channel: Channel = MIX,
    output: Path | None = None,
    overwrite: bool = False,
    phase: PhaseMethod = DeepGriffinLim,
    device: str = "cpu",
) -> int:
    """Find the latent whose sound is nearest to a recording.

    The best of some hundred latents are moved towards the recording's picture, step by step. The nearest one is kept in
    a file that `gan sample --latent` and `gan interpolate --seeds` take, its sound and the recording's beside it. How
    near it comes says how much of the recording the run can make.

    Args:
        run: A run's folder, or one of its checkpoints.
        recording: A sound file.
        start: Second of the recording to start from.
        seconds: How much of it; as much as a crop if not given.
        steps: Steps of the search.
        seed: Seed of the latents that are tried first.
        label: Class of the sound; all are tried if not given. For runs that were told the labels.
        channel: Which channel of the recording: mix (of all), left, right, or its number, from 1.
        output: A folder; RUN/inverted if not given.
        overwrite: Replace files that are there.
        phase: How the phase is found; see `gan decode --help`.
        device: Where to search.

    Returns:
        Exit code.
    """
    check_channel(channel)
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be 1 or more")
    if start < 0 or (seconds is not None and not seconds > 0):
        raise InputError(f"start is {start} and seconds {seconds}; the first must be 0 or more, the second above 0")
    trained = load_best(run, device)
    classes = list(range(len(trained.class_names))) if label is None else [class_of(trained, label)]
    n_samples, latent_length = lengths(trained, seconds)
    output = trained.run.folder / "inverted" if output is None else output
    paths = [output / f"{trained.checkpoint.stem}_{recording.stem}_{kind}.wav" for kind in ("recording", "nearest")]
    kept = output / f"{trained.checkpoint.stem}_{recording.stem}{LATENT_SUFFIX}"
    check_sounds(paths, trained, overwrite, [recording], [kept])
    if seconds is not None:
        _refuse_beyond(recording, start, seconds)

    settings, scale = trained.settings, trained.scale
    mixdown = Mixdown(channel)
    waveform = torch.from_numpy(read_excerpt(recording, settings.sample_rate, start, n_samples, mixdown))[None]
    for note in mixdown.notes():
        print(note, file=sys.stderr)
    if not bool(waveform.any()):
        raise InputError(
            f"{recording}: nothing but silence in {n_samples / settings.sample_rate:.2f} s from {start:g} s on"
        )
    if trained.run.read_config()["data"]["equal_levels"]:
        loudest_db = float(db_from_magnitude(magnitude_from_waveform(waveform, settings), top_db=None).max())
        waveform *= 10.0 ** ((scale.top_db - loudest_db) / 20.0)
    target = image_from_waveform(waveform, settings, scale)
    with Progress("invert", "step", steps) as progress:

        def watch(error: float) -> None:
            progress.advance(note=f"error {error:.3f}")

        found = find_latent(trained.gan, target, latent_length, classes, steps, seed, watch)
    name = None if found.number is None else trained.class_names[found.number]
    about = f"{trained.about}, nearest to {recording.name} from {start:g} s on" + (
        "" if name is None else f", label {name}"
    )
    labels = None if found.number is None else torch.tensor([found.number])
    reconstruct = phase(settings)
    nearest = trained.gan.sample(found.latent, labels)
    for path, images, comment in zip(paths, (target, nearest), (f"{recording.name}, as a picture", about), strict=True):
        print(write_sound(path, magnitude_of(trained, [images]), n_samples, trained, reconstruct, comment))
    Latent(found.latent, name, about).save(kept)
    write_page(output)
    print(
        f"{kept}: pictures differ by {found.error:.1%} of what is between the recording's and silence "
        f"({found.first_error:.1%} for the best that was tried){'' if name is None else f', label {name}'}"
    )
    print(f"to listen, open {output / INDEX}")
    return 0


def _refuse_beyond(recording: Path, start: float, seconds: float) -> None:
    """Of a whole crop silence may be a part; what is asked for by its length has to be there."""
    header = read_recording_header(recording, look_at_end=False)
    if header.n_samples is not None and start + seconds > header.n_samples / header.sample_rate:
        length = header.n_samples / header.sample_rate
        raise InputError(f"start is {start:g} and seconds {seconds:g}, but {recording} ends after {length:.2f} s")


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan invert` and run it."""
    parser = parser_of(invert)
    parser.add_argument("run", type=Path, metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument("recording", type=Path, metavar="RECORDING", help="A sound file.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that are there.")
    parser.add_function_arguments(invert, skip={"run", "recording", "overwrite"})
    return invert(**parse_with_phase(parser, arguments))
