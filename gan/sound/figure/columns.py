"""How many frames the columns of a drawn spectrogram are, and how many samples lie between them."""

from gan.errors import InputError
from gan.sound.figure.even import smooth_ends
from gan.sound.figure.figure import Notes
from gan.sound.figure.grid import MIN_SMOOTHNESS, Grid, Side, assumed, even_edges
from gan.sound.figure.options import FigureOptions

# Length of the recipe's pictures, which have no margins.
_SECONDS = 60.0
# In pixels: nobody draws 60 s on less.
_MIN_USUAL_COLUMN = 0.25
# A sound of fewer windows is a wrong count.
_MIN_WINDOWS = 2
_USUAL_OVERLAPS = (4, 2, 8, 16, 3, 1)
_MAX_OVERLAP = 32
# What librosa.display.specshow labels time with where it is not told the hop.
_SPECSHOW_HOP = 512
# Labels that ask for more number the columns.
_MAX_COLUMNS_OF_PIXEL = 16
# Of columns: sounds are padded or not, and their last frames are dropped or not.
_MAX_MISSING = 1.5


def find_columns(
    side: Side,
    across: Grid | None,
    n_fft: int,
    labelled: float | None,
    whole: bool,
    options: FigureOptions,
    notes: Notes,
) -> tuple[Grid, int, str]:
    """Work out the columns and the hop between them.

    Args:
        side: The horizontal axis.
        across: The columns that were counted, if they were.
        n_fft: Length of a transform in samples.
        labelled: Length of the axis by its labels, if they were read; seconds or another unit.
        whole: Whether the spectrogram fills the picture.
        options: What is known.
        notes: Told what was found.

    Returns:
        The columns, the samples from one to the next, and how these are known; "" if they are usual ones.

    Raises:
        InputError: If the length has to be given.
    """
    seconds = options.seconds
    n_samples = None if seconds is None else round(seconds * options.sample_rate)
    hop_length = options.hop_length or max(1, n_fft // 4)
    known = "given" if options.hop_length else "" if seconds is None else "from the length that was given"
    if across is not None:
        length = seconds or labelled
        if options.hop_length is None and length is not None:
            hop = _hop_of(across, round(length * options.sample_rate), n_fft)
            # A hop that no transform has is that of labels in another unit.
            if hop == _SPECSHOW_HOP > n_fft // 2 and seconds is None:
                notes.warnings.append(
                    f"its time axis is {length:.2f} s long by its labels, as specshow writes them without hop_length; "
                    f"it is taken for {across.n * hop_length / options.sample_rate:.2f} s, as n_fft is {n_fft}; give "
                    "--seconds or --hop_length if that is wrong"
                )
            elif hop is not None and (seconds or hop >= n_fft // _MAX_OVERLAP):
                hop_length, known = hop, known or f"its time axis is {length:.2f} s long by its labels"
        expected = None if n_samples is None else 1 + n_samples // hop_length
        if expected is not None and abs(expected - across.shown) > max(_MAX_MISSING, n_fft / hop_length):
            notes.warnings.append(
                f"shows {across.n} columns, but {seconds:g} s at hop_length {hop_length} and sample_rate "
                f"{options.sample_rate} are {expected}; one of the three is wrong"
            )
        notes.found(
            "frames",
            str(across.n),
            across.confidence,
            f"columns of {across.pitch:.2f} px, the outer ones {across.ends}",
        )
        return across, hop_length, known
    blurred = side.smoothness > MIN_SMOOTHNESS
    origin = "given" if seconds is not None else "usual"
    if n_samples is None and labelled is not None:
        n_labelled = round(labelled * options.sample_rate)
        if _MIN_WINDOWS * n_fft < n_labelled < _MAX_COLUMNS_OF_PIXEL * abs(side.high - side.low) * hop_length:
            n_samples, origin = n_labelled, f"{labelled:.2f} s by its labels"
            known = known or f"n_fft / 4, and {origin}"
    if n_samples is None:
        n_samples = round(_SECONDS * options.sample_rate)
        if blurred or not (whole and side.high - side.low > _MIN_USUAL_COLUMN * (1 + n_samples // hop_length)):
            why = (
                "run into each other (an interpolated or resized picture) and cannot" if blurred else "are too thin to"
            )
            raise InputError(
                f"{notes.path}: its columns {why} be counted; give the length of the sound that it shows with --seconds"
            )
    n_frames = 1 + n_samples // hop_length
    ends = smooth_ends(side, n_frames)
    columns = assumed(side, even_edges(n_frames, ends), ends)
    how = "run into each other" if blurred else "cannot be counted"
    notes.found("frames", str(n_frames), None, f"{origin}; columns of {columns.cell:.2f} px {how}")
    return columns, hop_length, known


def _hop_of(columns: Grid, n_samples: int, n_fft: int) -> int | None:
    """The hop that brings as many columns out of a sound; None if it would leave samples out between windows."""
    exact = n_samples / max(1.0, columns.shown - 1 if columns.ends == "whole" else columns.shown)
    for hop_length in (n_fft // overlap for overlap in _USUAL_OVERLAPS if n_fft >= overlap):
        # Padded at both ends (librosa) or not (scipy, matplotlib).
        for n_frames in (1 + n_samples / hop_length, 1 + (n_samples - n_fft) / hop_length):
            if abs(n_frames - columns.shown) <= _MAX_MISSING:
                return hop_length
    hop_length = round(exact)
    return hop_length if 1 <= hop_length <= n_fft else None


def check_length(n_frames: int, hop_length: int, n_fft: int, options: FigureOptions, notes: Notes) -> None:
    """Refuse a length that no spectrogram has.

    Raises:
        InputError: If the sound is shorter than some windows, and that was not given.
    """
    seconds = n_frames * hop_length / options.sample_rate
    if options.seconds is None and n_frames * hop_length < _MIN_WINDOWS * n_fft:
        raise InputError(
            f"{notes.path}: {n_frames} columns were counted, a sound of {seconds:.2f} s, which is shorter than "
            f"{_MIN_WINDOWS} windows of n_fft {n_fft}; give its length with --seconds"
        )
