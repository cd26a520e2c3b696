"""The rows of a drawn spectrogram: which axis explains them, and how many there are."""

from gan.errors import InputError
from gan.sound.figure.axis import log_edges, mel_edges
from gan.sound.figure.even import find_even_grid
from gan.sound.figure.figure import Notes
from gan.sound.figure.grid import MIN_SMOOTHNESS, Ends, Grid, Side, even_edges, find_grid, fit, is_found
from gan.sound.figure.options import FigureOptions, YAxis

_LOG_N_FFTS = (256, 512, 1024, 2048, 4096, 8192)
USUAL_ROWS = (65, 129, 257, 513, 1025, 2049, 4097)
_ENDS: tuple[Ends, Ends] = ("whole", "clipped")
# Part of the best correlation from which on a grid fits about as well.
_AS_WELL = 0.9
_MELS = range(16, 513)


def find_rows(side: Side, options: FigureOptions, notes: Notes) -> tuple[YAxis, Grid | None]:
    """Find the frequency axis that explains a picture's rows best.

    Args:
        side: The vertical axis, from the bottom up.
        options: What is known.
        notes: Warned if the rows speak against what is given.

    Returns:
        The axis and its rows; None if they are too thin to be counted.

    Raises:
        InputError: If nothing can be made of the axis that was given.
    """
    given = options.y_axis
    found: dict[YAxis, Grid] = {}
    even = _usual(side, find_even_grid(side))
    if even is not None and even.smooth and even.n not in _n_usual(options):
        even = None
    if is_found(even):
        found["linear"] = even
    if given == "linear" or not (is_found(even) and even.confidence > 0.9 and even.correlation > 0.7):
        # Whatever repeats evenly, be it a JPEG's blocks, is no other axis if that explains it less.
        least = 0.0 if even is None else even.correlation
        uneven = _find_uneven_rows(side, options) if _has_edges(side, options) else {}
        found |= {y_axis: grid for y_axis, grid in uneven.items() if grid.correlation > least}
    # Mel bands are often drawn as equal rows; an STFT has one row more than a power of two.
    evenly_drawn = given == "mel" and "mel" not in found and is_found(even) and (even.n - 1) & (even.n - 2) != 0
    if given == "mel" and "linear" in found:
        found.setdefault("mel", found["linear"])
    best = max(found, key=lambda y_axis: found[y_axis].correlation, default=given or "linear")
    if given is not None and best in found and best != given and not (evenly_drawn and best == "linear"):
        said = f"its rows look like a {best} axis ({found[best].n} rows) and not like the {given} one that was given"
        if given in found and found[given].ends == "cut" and options.n_fft is None:
            raise InputError(f"{notes.path}: {said}; leave --y_axis out, or give --n_fft")
        notes.warnings.append(said)
    y_axis = given or best
    return y_axis, found.get(y_axis)


def _has_edges(side: Side, options: FigureOptions) -> bool:
    """Whether rows that differ are looked for: some number of them explains any picture without edges by half."""
    return side.smoothness <= MIN_SMOOTHNESS or options.y_axis in ("log", "mel")


def _usual(side: Side, even: Grid | None) -> Grid | None:
    """The usual number of rows if it fits about as well: where most rows are silent, many numbers do."""
    if even is None or even.smooth or even.correlation <= 0:
        return even
    least = _AS_WELL * even.correlation
    usual = [fit(side, even_edges(n, end), end) for n in USUAL_ROWS for end in _ENDS]
    best = max(usual, key=lambda grid: grid.correlation)
    return best if best.correlation >= least and is_found(best) else even


def _n_usual(options: FigureOptions) -> tuple[int, ...]:
    """Numbers of rows that smooth cells may have to be counted: others are those of a resized picture's pixels."""
    return USUAL_ROWS if options.n_fft is None else (options.n_fft // 2 + 1,)


def _find_uneven_rows(side: Side, options: FigureOptions) -> dict[YAxis, Grid]:
    rows = [(n // 2 + 1, end) for n in ([options.n_fft] if options.n_fft else _LOG_N_FFTS) for end in _ENDS]
    bands = [(n, end) for n in ([options.n_mels] if options.n_mels else _MELS) for end in _ENDS]
    grids: dict[YAxis, Grid | None] = {
        "log": find_grid(side, rows, log_edges(options.sample_rate)),
        "mel": find_grid(side, bands, mel_edges(*range_of(options))),
    }
    return {y_axis: grid for y_axis, grid in grids.items() if is_found(grid)}


def range_of(options: FigureOptions) -> tuple[float, float]:
    """The lowest and the highest frequency of a mel or log axis in Hz, as given or as usual."""
    return options.min_hz or 0.0, options.max_hz or options.sample_rate / 2
