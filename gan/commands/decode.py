"""`gan decode`: pictures of spectrograms to recordings."""

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from gan.commands.parser import parser_of
from gan.commands.parsing import parse_with_phase
from gan.errors import InputError
from gan.files import NameRefused
from gan.outputs import Mark, Outputs, shared_outputs
from gan.progress import Progress, say
from gan.sound.alignment import align
from gan.sound.channel import MIX, Channel, check_channel
from gan.sound.codec import has_header, read_header
from gan.sound.figure.figure import Figure
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import SUFFIXES
from gan.sound.figure.report import REPORT, REPORT_SUFFIX, write_report
from gan.sound.losses import losses
from gan.sound.mixdown import Mixdown
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.picture import Picture, read_picture
from gan.sound.recording import gain_that_fits, has_comment, write_recording
from gan.sound.spectrogram import db_from_magnitude
from gan.walk import in_order

Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]

# Peak of what has no level of its own: -1 dBFS.
_PEAK = 10 ** (-1 / 20)
# Begins the comment of every sound.
_COMMENT = "gan decode of "
_SOUND = Mark("sound of gan decode", lambda path: has_comment(path, _COMMENT))
# Spectral convergence to another recording is near 0 dB.
_UNLIKE_DB = -3.0


def decode(
    pictures: list[Path],
    options: FigureOptions,
    output: Path | None = None,
    subtype: Subtype = "PCM_16",
    phase: PhaseMethod = DeepGriffinLim,
    reference: Path | None = None,
    channel: Channel | None = None,
    report: bool = False,
    overwrite: bool = False,
) -> int:
    """Turn pictures of spectrograms into WAV files.

    Images of `gan encode` come back at the level that the recordings had. Other pictures (figures that matplotlib or
    librosa drew, arrays, riffusion's and other programs' pictures) are read as they are: what was found in them is
    printed with a confidence, and what a picture does not show can be said with the options. Their level is lost, so
    they peak at -1 dBFS.

    A picture holds no phase: it is estimated, by default with a small network and a few iterations of fast Griffin-Lim.
    How near the result's spectrogram comes to the picture is printed as spectral convergence (-20 dB: good, -30 dB:
    very good).

    Args:
        pictures: Picture files, or folders of them.
        options: How to read pictures that are not of `gan encode`.
        output: A folder, or a file name for a single picture; beside the pictures if not given.
        subtype: Sample format of the WAV files. FLOAT never clips; the others are scaled down where they would.
        phase: How the phase is found. --phase.n_iter 100 takes longer and comes nearer; --phase GriffinLim starts from
            random phase; --phase.help DeepGriffinLim explains its options.
        reference: The recording that a picture was made of: what was lost on the way is printed, step by step.
        channel: Which channel of the reference: mix, left, right, or its number, from 1; the one that was encoded if
            not given, which a picture of other programs does not say: mix then.
        report: Write a page (NAME.report.png) beside each WAV file with the picture as it was read.
        overwrite: Replace files that `gan decode` did not make.

    Returns:
        Exit code: 1 if a picture was skipped.
    """
    check_channel(MIX if channel is None else channel)
    targets = _targets(pictures, output)
    n_pictures = len(targets)
    refused = _refused(targets, Outputs([*targets, *([reference] if reference else [])], overwrite), report)
    if n_pictures == 1 and refused:
        raise next(iter(refused.values()))
    n_skipped, n_incomplete = len(refused), 0
    for path, error in refused.items():
        print(f"skipped {path}: {error}", file=sys.stderr)
        del targets[path]
    shown: list[tuple[str, str]] = []
    cells = {path: _cells(path) for path in targets}
    with Progress("decode", "picture", len(targets), sum(cells.values())) as progress:
        for path, target in progress.over(targets.items(), lambda item: cells[item[0]]):
            try:
                picture = read_picture(path, options)
            except InputError as error:
                n_skipped += 1
                say(f"skipped {error}", file=sys.stderr)
                continue
            if picture.figure is not None:
                # Of many alike one table says it all.
                found = [(finding.name, finding.value) for finding in picture.figure.findings]
                if found != shown:
                    say(f"{path}:\n{picture.figure.table()}")
                shown = found
                for warning in picture.figure.warnings:
                    say(f"{path}: {warning}")
            waveform = phase(picture.settings)(picture.magnitude, picture.n_samples)
            gain, note = _gain(picture, float(waveform.abs().max()), subtype)
            sound = (waveform * gain).numpy()
            try:
                write_recording(target, sound, picture.settings.sample_rate, subtype, f"{_COMMENT}{path.name}")
            except NameRefused as error:
                n_skipped += 1
                say(f"skipped {error}", file=sys.stderr)
                continue
            convergence_db = float(spectral_convergence_db(waveform, picture.magnitude, picture.settings))
            quality = f", spectral convergence {convergence_db:.1f} dB" if gain else ""
            say(f"{target}: {len(waveform) / picture.settings.sample_rate:.2f} s, {note}{quality}")
            n_incomplete += report and not _is_reported(target, picture.figure, path)
            if reference is not None:
                mixdown = Mixdown(picture.channel if channel is None else channel)
                n_incomplete += not _is_compared(picture, waveform, gain, reference, mixdown)
    _say_unread(pictures)
    if n_skipped:
        print(f"{n_skipped} of {n_pictures} pictures were skipped", file=sys.stderr)
    return 1 if n_skipped or n_incomplete else 0


def _say_unread(pictures: list[Path]) -> None:
    from gan.data.listing import describe_unread_images

    for given in pictures:
        if given.is_dir() and (unread := describe_unread_images(given)):
            print(unread, file=sys.stderr)


def _targets(pictures: list[Path], output: Path | None) -> dict[Path, Path]:
    """The WAV file of each picture."""
    from gan.data.listing import describe_unread_images, walk_images

    if output is not None and output.suffix.lower() in (".flac", ".ogg", ".mp3", ".aiff"):
        raise InputError(f"{output}: WAV files are written; name it {output.with_suffix('.wav')}, or a folder")
    if output is not None and output.suffix.lower() == ".wav":
        if len(pictures) != 1 or pictures[0].is_dir():
            raise InputError(f"{output} is one file, but there are several pictures; give a folder")
        if not pictures[0].exists():
            raise InputError(f"{pictures[0]}: no such file; give a picture")
        return {pictures[0]: output}
    targets: dict[Path, Path] = {}
    for given in pictures:
        if given.is_dir():
            found = [given / file for file, _, _ in in_order(walk_images(given))]
            if not found:
                unread = describe_unread_images(given)
                advice = f"; {unread}" if unread else ""
                raise InputError(f"{given}: no pictures ({', '.join(sorted(SUFFIXES))}) in it{advice}")
            root = given
        elif given.exists():
            found, root = [given], given.parent
        else:
            raise InputError(f"{given}: no such file or folder; give a picture or a folder of pictures")
        for path in found:
            targets[path] = (root if output is None else output) / path.relative_to(root).with_suffix(".wav")
    for path, other in shared_outputs(targets).items():
        raise InputError(f"{other} and {path} would both become {targets[path]}; decode them into separate folders")
    return targets


def _refused(targets: dict[Path, Path], outputs: Outputs, report: bool) -> dict[Path, InputError]:
    """The pictures whose outputs may not be written, and why."""
    refused = {}
    for path, target in targets.items():
        try:
            outputs.check(target, _SOUND)
            if report and not has_header(path):
                outputs.check(target.with_suffix(REPORT_SUFFIX), REPORT)
        except InputError as error:
            refused[path] = error
    return refused


def _cells(path: Path) -> float:
    """About how much work is in a picture: cells of an image of `gan encode`, bytes of what has to be found first."""
    try:
        header = read_header(path)
    except (InputError, OSError):
        return float(path.stat().st_size) if path.exists() else 0.0
    return float(header.n_frames * header.settings.n_freqs)


def _is_compared(picture: Picture, waveform: Tensor, gain: float, reference: Path, mixdown: Mixdown) -> bool:
    """Say what was lost between a recording and the sound of its picture; False if they cannot be compared."""
    compared = True
    try:
        say(_losses(picture, waveform, gain, reference, mixdown))
    except InputError as error:
        compared = False
        say(f"not compared: {error}", file=sys.stderr)
    # What cancels in the mix may be why they are not alike.
    for note in mixdown.notes():
        say(note, file=sys.stderr)
    return compared


def _losses(picture: Picture, waveform: Tensor, gain: float, reference: Path, mixdown: Mixdown) -> str:
    settings = picture.settings
    range_db = -settings.floor_db
    start_second = picture.start_second
    if start_second is None:
        level_db = db_from_magnitude(picture.magnitude, top_db=range_db)
        start_second = align(level_db, reference, settings, range_db, mixdown).start_second
    lost = losses(picture.magnitude, waveform, reference, start_second, settings, range_db, mixdown)
    if picture.start_second is not None and lost.picture_convergence_db > _UNLIKE_DB:
        raise InputError(
            f"{reference}: from {start_second:.2f} s on it does not sound like the picture (spectral convergence "
            f"{lost.picture_convergence_db:.1f} dB); give the recording that the picture was made of"
        )
    # What the file's level is, not the waveform's.
    return str(dataclasses.replace(lost, level_db=lost.level_db + 20 * math.log10(gain)))


def _gain(picture: Picture, peak: float, subtype: Subtype) -> tuple[float, str]:
    """By what a waveform of this peak is multiplied for its file, and why; 0 for silence."""
    if peak == 0:
        return 0.0, "silence"
    peak_dbfs = 20 * math.log10(peak)
    if not picture.level_is_known:
        return _PEAK / peak, "peak set to -1 dBFS because the picture does not show the level"
    gain = gain_that_fits(peak, subtype)
    down = f", scaled down by {-20 * math.log10(gain):.1f} dB so that it does not clip" if gain < 1 else ""
    return gain, f"peak {peak_dbfs:.1f} dBFS{down}"


def _is_reported(target: Path, figure: Figure | None, path: Path) -> bool:
    """Write the page of a picture beside its sound; False if the page cannot have that name."""
    if figure is None:
        say(f"{path}: no report, nothing had to be found in an image of `gan encode`")
        return True
    page = target.with_suffix(REPORT_SUFFIX)
    try:
        write_report(figure, page)
    except NameRefused as error:
        say(f"no report: {error}", file=sys.stderr)
        return False
    say(f"{page}: the picture as it was read")
    return True


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan decode` and run it."""
    parser = parser_of(decode)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="Picture files, or folders of them.")
    parser.add_argument("-o", "--output", type=Path | None, help="A folder, or a file name for a single picture.")
    parser.add_argument("--report", action="store_true", help="Write a page (NAME.report.png) beside each WAV file.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that `gan decode` did not make.")
    parser.add_function_arguments(decode, skip={"pictures", "output", "options", "report", "overwrite"})
    parser.add_class_arguments(FigureOptions, as_group=False)
    given = parse_with_phase(parser, arguments)
    options = {field.name: given.pop(field.name) for field in dataclasses.fields(FigureOptions)}
    return decode(**given, options=FigureOptions(**options))
