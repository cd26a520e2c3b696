"""A matrix of numbers or pixels, one a cell, on its way to a figure."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure.figure import Figure, Notes
from gan.sound.figure.levels import levels_of
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.transforms import refuse_other_transforms
from gan.sound.settings import Bits, MelBands, SpectrogramSettings

Levels = NDArray[np.float32]

# Our own limit: more than an hour at librosa's default grid.
MAX_CELLS = 200_000_000
# By how much the quarter of the rows at one end must be louder than that at the other to be called the lower one. Of
# music and speech in pieces of 5 s they differ by 9 dB and more; of spoken digits by 3 dB and more in 19 of 20.
_MIN_SLOPE_DB = 6.0
_N_FFT = 2048


class Matrix:
    """One matrix on its way to a figure; collects what is found.

    Args:
        path: The file, for messages.
        shape: Of the matrix: rows of frequencies, columns of frames.
        options: What is known of it.

    Raises:
        InputError: If it cannot be a spectrogram, or its number of rows does not say what they are.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], options: FigureOptions) -> None:
        self.path = path
        self.options = options
        self.notes = Notes(path)
        if len(shape) != 2 or 0 in shape:
            raise InputError(
                f"{path}: an array of shape {shape}, (frequencies, frames) was expected; save one spectrogram by itself"
            )
        self.n_rows, self.n_columns = shape
        if math.prod(shape) > MAX_CELLS:
            raise InputError(
                f"{path}: {self.n_rows} x {self.n_columns} cells, at most {MAX_CELLS:.0e} are read; cut it up"
            )
        if self.n_columns < 2:
            raise InputError(f"{path}: has one column, and one frame makes no sound; was a spectrogram meant?")
        self.bands, self.n_fft = self._frequencies()

    def _frequencies(self) -> tuple[MelBands | None, int]:
        """The mel bands or None, and n_fft, from the number of rows."""
        options, n_rows = self.options, self.n_rows
        y_axis, n_fft = options.y_axis, options.n_fft
        if y_axis == "log":
            raise InputError(f"{self.path}: the rows of a matrix are no log axis; say --y_axis linear or mel")
        # An STFT has 2**k + 1 frequencies; everything else may be mel bands.
        likely = n_rows == n_fft // 2 + 1 if n_fft else n_rows > 2 and _is_power_of_2(n_rows - 1)
        if y_axis is None and n_rows == options.n_mels:
            y_axis = "mel"
        if y_axis is None and not likely:
            refuse_other_transforms(self.path, n_rows)
            expected = f"{n_fft // 2 + 1} of n_fft {n_fft}" if n_fft else "2**k + 1 of an STFT"
            turned = _is_power_of_2(self.n_columns - 1) or (n_fft and self.n_columns == n_fft // 2 + 1)
            raise InputError(
                f"{self.path}: {n_rows} rows are not the {expected}; say --y_axis mel if they are mel bands, --y_axis "
                + ("linear if frequencies; is it transposed?" if turned else "linear (and --n_fft) if frequencies")
            )
        how = "given" if options.y_axis else f"{n_rows} rows"
        self.notes.found("y_axis", y_axis or "linear", None if options.y_axis else 0.9, how)
        if y_axis == "mel":
            self.notes.found(
                "n_fft", str(n_fft or _N_FFT), None, "given" if n_fft else "no mel picture shows it; --n_fft"
            )
            return self._mel_bands(), n_fft or _N_FFT
        return None, self._n_fft_of_rows()

    def _mel_bands(self) -> MelBands:
        options = self.options
        if options.n_mels not in (None, self.n_rows):
            raise InputError(f"{self.path}: {self.n_rows} rows are not the {options.n_mels} of --n_mels; leave it out")
        max_hz = options.max_hz or options.sample_rate / 2
        if max_hz > options.sample_rate / 2:
            raise InputError(
                f"{self.path}: max_hz {max_hz:g} is above half of sample_rate {options.sample_rate}; which of the two "
                "is wrong?"
            )
        self.notes.found("max_hz", f"{max_hz:g}", None, "given" if options.max_hz else "half the sample rate; --max_hz")
        # Bands of amplitudes only where the numbers are amplitudes; librosa's, and their dB, are of powers.
        return MelBands(self.n_rows, 0.0, max_hz, power=1 if options.values == "magnitude" else 2)

    def _n_fft_of_rows(self) -> int:
        n_rows, n_fft = self.n_rows, self.options.n_fft
        if n_fft is None:
            if n_rows > 2 and _is_power_of_2(n_rows - 1):
                self.notes.found("n_fft", str(2 * (n_rows - 1)), 1.0, f"2 x ({n_rows} - 1)")
                return 2 * (n_rows - 1)
            if _is_power_of_2(n_rows):
                self.notes.found("n_fft", str(2 * n_rows), 0.8, f"2 x {n_rows}: the highest frequency was left out")
                return 2 * n_rows
            raise InputError(
                f"{self.path}: {n_rows} rows are of no usual n_fft; give --n_fft, {2 * (n_rows - 1)} if it is so"
            )
        n_freqs = n_fft // 2 + 1
        if n_rows > n_freqs:
            raise InputError(f"{self.path}: has {n_rows} rows, but n_fft {n_fft} has {n_freqs}; leave --n_fft out")
        if n_rows < n_freqs - 1:
            self.notes.warnings.append(f"has {n_rows} of {n_freqs} frequencies; those above are taken for silent")
        self.notes.found("n_fft", str(n_fft), None, "given")
        return n_fft

    def levels_of_values(self, values: NDArray[np.float32], are_colours: bool = False) -> Levels:
        """Levels in dB of values in [0, 1], 0 dB for 1; colours may show magnitudes or powers."""
        self.refuse_one_level(float(values.min()), float(values.max()))
        how = "given" if self.options.range_db != 80 else "usual; no picture shows it; --range_db"
        self.notes.found("range_db", f"{self.options.range_db:g} dB", None, how)
        self.notes.found("level", "lost", None, "only differences of level are drawn")
        if are_colours:
            return levels_of(values, self.options, self.notes)
        return (values - np.float32(1)) * np.float32(self.options.range_db)

    def refuse_one_level(self, low: float, high: float) -> None:
        """Refuse a matrix whose lowest and highest number are the same."""
        if low == high:
            raise InputError(f"{self.path}: all cells are the same: silence, or no spectrogram; leave it out")

    def figure(
        self,
        relative_db: Levels,
        floor_db: float,
        bits: Bits,
        level_db: float | None = None,
        top_db: float = 0.0,
        first_is_lowest: bool = False,
    ) -> Figure:
        """The figure of levels.

        Args:
            relative_db: Shape of the matrix, its first row first.
            floor_db: Lowest level that the matrix can hold, as in `SpectrogramSettings`.
            bits: Of its numbers.
            level_db: Level of relative 0 dB, if it is known.
            top_db: Highest level that the matrix can hold.
            first_is_lowest: Whether its first row is the lowest frequency unless the options say something else; False
                if that has to be found out.

        Raises:
            InputError: If that cannot be found out, or the options contradict each other.
        """
        options = self.options
        settings = self._settings(floor_db, bits)
        if not self._is_upside_down(relative_db, first_is_lowest):
            relative_db = relative_db[::-1]
        if self.bands is None:
            n_missing = settings.n_freqs - self.n_rows
            relative_db = np.pad(relative_db, ((0, n_missing), (0, 0)), constant_values=floor_db + top_db)
        else:
            from gan.sound.mel import mel_filters

            n_empty = int((mel_filters(self.bands, settings).amax(1) == 0).sum())
            if n_empty:
                self.notes.warnings.append(
                    f"{n_empty} of its {self.n_rows} mel bands hold no frequency of n_fft {settings.n_fft}; another "
                    "--n_fft, --sample_rate or --max_hz?"
                )
        lost = "no picture shows it"
        self.notes.found("sample_rate", f"{settings.sample_rate} Hz", None, f"{lost}; --sample_rate")
        how = "given" if options.hop_length else f"n_fft / 4; {lost}; --hop_length"
        self.notes.found("hop_length", str(settings.hop_length), None, how)
        self.notes.found("frames", str(self.n_columns), 1.0, "columns")
        seconds = settings.n_samples(self.n_columns) / settings.sample_rate
        self.notes.found("seconds", f"{seconds:.2f}", None, "frames x hop_length / sample_rate")
        if options.seconds is not None:
            n_frames = settings.n_frames(round(options.seconds * settings.sample_rate))
            if abs(n_frames - self.n_columns) > 1:
                self.notes.warnings.append(
                    f"has {self.n_columns} columns, but {options.seconds:g} s at hop_length {settings.hop_length} and "
                    f"sample_rate {settings.sample_rate} are {n_frames}; one of the three is wrong"
                )
        return Figure(
            self.path,
            settings,
            np.ascontiguousarray(relative_db),
            self.bands,
            tuple(self.notes.findings),
            tuple(self.notes.warnings),
            level_db=level_db,
            top_db=top_db,
        )

    def _settings(self, floor_db: float, bits: Bits) -> SpectrogramSettings:
        options, n_fft = self.options, self.n_fft
        try:
            return SpectrogramSettings(
                options.sample_rate,
                n_fft,
                options.hop_length or max(1, n_fft // 4),
                options.win_length or n_fft,
                options.window,
                floor_db,
                bits,
            )
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error

    def _is_upside_down(self, relative_db: Levels, first_is_lowest: bool) -> bool:
        """Whether low frequencies are in the first row: the top one of a picture."""
        given = self.options.upside_down
        if given is not None:
            self.notes.found("upside_down", "yes" if given else "no", None, "given")
            return given
        quarter = max(1, self.n_rows // 4)
        slope = float(relative_db[:quarter].mean() - relative_db[-quarter:].mean())
        how = (
            f"the first quarter of the rows is {abs(slope):.0f} dB {'louder' if slope > 0 else 'quieter'} than the last"
        )
        if first_is_lowest:
            if slope < -_MIN_SLOPE_DB:
                self.notes.warnings.append(f"{how}; if its first row is the highest frequency say --upside_down false")
            self.notes.found("upside_down", "yes", 0.9, "the first row of a matrix is the lowest frequency")
            return True
        if abs(slope) < _MIN_SLOPE_DB:
            raise InputError(
                f"{self.path}: whether low frequencies are at the top cannot be told; say --upside_down true or false"
            )
        self.notes.found("upside_down", "yes" if slope > 0 else "no", min(1.0, abs(slope) / (4 * _MIN_SLOPE_DB)), how)
        return slope > 0


def _is_power_of_2(number: int) -> bool:
    return number & (number - 1) == 0
