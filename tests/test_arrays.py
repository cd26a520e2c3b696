"""Matrices and pictures of matrices, made here as numpy, librosa, matplotlib and audio-diffusion make them."""

import struct

import librosa
import numpy as np
import pytest
from matplotlib import image as mpl_image
from PIL import Image

from gan.errors import InputError, NotNow
from gan.sound.figure.arrays import read_cells, read_numbers
from gan.sound.figure.figure import assumed_level_db
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import load_pixels, open_picture
from gan.sound.mel import MelBands, mel_filters
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.settings import SpectrogramSettings

RATE = 22050


@pytest.fixture
def waveform(sound):
    """Three seconds whose high frequencies are quieter than the low ones, as a recording's are, and then silence."""
    decaying = librosa.effects.preemphasis(sound(3 * RATE)[::-1])[::-1]
    lowpassed = np.fft.irfft(np.fft.rfft(decaying) / (1 + (np.fft.rfftfreq(len(decaying), 1 / RATE) / 500) ** 2))
    return np.concatenate([lowpassed, np.zeros(RATE // 2)]).astype(np.float32)


@pytest.fixture
def magnitude(waveform):
    """librosa's, shape (1025, 151)."""
    return np.abs(librosa.stft(waveform))


def convergence_db(found, wanted):
    return 20 * np.log10(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def rms_db(figure, wanted_db, down_to=-80):
    """Root mean square difference from levels whose loudest is 0, where they are above the floor."""
    heard = wanted_db > down_to
    return float(np.sqrt(np.mean((figure.relative_db - wanted_db)[heard] ** 2)))


def found(figure):
    return {finding.name: finding for finding in figure.findings}


def relative(magnitude):
    return 20 * np.log10(np.maximum(magnitude, 1e-12) / magnitude.max())


def npy(folder, matrix, name="matrix.npy"):
    np.save(folder / name, matrix)
    return folder / name


# ------------------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("top_db", [80, None])
def test_levels_of_librosas_are_read_back(tmp_path, magnitude, top_db):
    level_db = librosa.amplitude_to_db(magnitude, ref=1.0, top_db=top_db)
    figure = read_numbers(npy(tmp_path, level_db), FigureOptions())
    assert figure.settings == SpectrogramSettings()
    assert figure.mel is None
    assert figure.level_db == pytest.approx(level_db.max())
    assert figure.relative_db.max() == 0
    assert figure.relative_db.min() >= -120
    assert rms_db(figure, relative(magnitude)) < 1e-4
    # What top_db cut off is lost.
    assert convergence_db(figure.magnitude().numpy(), magnitude) < (-60 if top_db else -90)
    assert found(figure)["n_fft"].value == "2048"
    assert found(figure)["values"].value == "db"
    assert found(figure)["level"].value == "known"
    assert figure.warnings == ()


def test_level_is_lost_where_the_loudest_is_the_reference(tmp_path, magnitude):
    level_db = librosa.amplitude_to_db(magnitude, ref=np.max)
    figure = read_numbers(npy(tmp_path, level_db), FigureOptions())
    assert figure.level_db is None
    assert found(figure)["level"].value == "lost"
    assert rms_db(figure, relative(magnitude)) < 1e-4
    loudest = 20 * np.log10(float(figure.magnitude().max()))
    assert loudest == pytest.approx(assumed_level_db(figure.settings), abs=1e-4)
    # A magnitude that was scaled to 1 has none either.
    scaled = read_numbers(npy(tmp_path, magnitude / magnitude.max()), FigureOptions(values="magnitude"))
    assert scaled.level_db is None


@pytest.mark.parametrize(
    "change",
    [np.float64, np.dtype(">f4"), np.asfortranarray, lambda matrix: matrix.astype(np.float64) ** 2],
    ids=["float64", "big", "fortran", "power"],
)
def test_amplitudes_and_powers(tmp_path, magnitude, change):
    changed = change(magnitude) if callable(change) and not isinstance(change, type) else magnitude.astype(change)
    values = "power" if np.allclose(changed.max(), magnitude.max() ** 2) else "magnitude"
    figure = read_numbers(npy(tmp_path, changed), FigureOptions(values=values))
    assert figure.level_db == pytest.approx(20 * np.log10(magnitude.max()), abs=1e-4)
    assert rms_db(figure, relative(magnitude), -119) < 1e-4
    assert convergence_db(figure.magnitude().numpy(), magnitude) < -80


def test_halves_and_the_logarithm_of_nothing(tmp_path, magnitude):
    with np.errstate(divide="ignore"):
        level_db = 20 * np.log10(magnitude)
    level_db[:, -3:] = -np.inf
    figure = read_numbers(npy(tmp_path, level_db.astype(np.float16)), FigureOptions())
    assert rms_db(figure, relative(magnitude)) < 0.05
    assert (figure.relative_db[:, -3:] == -120).all()


def test_mel_levels(tmp_path, waveform, magnitude):
    mel = librosa.feature.melspectrogram(y=waveform, sr=RATE, n_mels=128)
    path = npy(tmp_path, librosa.power_to_db(mel, top_db=None))
    figure = read_numbers(path, FigureOptions(y_axis="mel"))
    assert figure.mel == MelBands(128, 0.0, RATE / 2)
    assert figure.settings == SpectrogramSettings()
    decoded = figure.magnitude().numpy()
    assert decoded.shape == magnitude.shape
    assert convergence_db(mel_filters(figure.mel, figure.settings).numpy() @ decoded**2, mel) < -50
    assert convergence_db(decoded, magnitude) < -8
    # Powers as they are, and the bands of amplitudes that magnitudes can only be.
    powers = read_numbers(npy(tmp_path, mel), FigureOptions(y_axis="mel", values="power"))
    assert powers.mel == figure.mel
    heard = figure.relative_db > -90
    np.testing.assert_allclose(powers.relative_db[heard], figure.relative_db[heard], atol=1e-3)
    amplitudes = read_numbers(npy(tmp_path, mel), FigureOptions(n_mels=128, values="magnitude", max_hz=8000))
    assert amplitudes.mel == MelBands(128, 0.0, 8000.0, power=1)


def test_bands_too_narrow_for_the_transform_are_warned_of(tmp_path):
    path = npy(tmp_path, np.linspace(-80, 0, 512 * 4).reshape(512, 4))
    warnings = read_numbers(path, FigureOptions(y_axis="mel", upside_down=True, n_fft=1024)).warnings
    n_empty = int(
        (mel_filters(MelBands(512, 0.0, RATE / 2), SpectrogramSettings.like_librosa(1024)).amax(1) == 0).sum()
    )
    assert n_empty > 50
    assert warnings == (
        f"{n_empty} of its 512 mel bands hold no frequency of n_fft 1024; another --n_fft, --sample_rate or --max_hz?",
    )
    assert not read_numbers(path, FigureOptions(y_axis="mel", upside_down=True, n_fft=2048)).warnings


@pytest.mark.parametrize(
    ("options", "n_rows", "n_fft"),
    [
        ({}, 129, 256),
        ({"n_fft": 400}, 201, 400),
        ({"n_fft": 255}, 128, 255),
        ({"y_axis": "linear"}, 128, 256),  # a GAN's grid, without the highest frequency
        ({"y_axis": "linear", "n_fft": 400}, 200, 400),
        ({"y_axis": "linear", "n_fft": 400}, 150, 400),
    ],
)
def test_rows_that_are_frequencies(tmp_path, options, n_rows, n_fft):
    matrix = np.linspace(0, -80, n_rows * 6).reshape(n_rows, 6)
    figure = read_numbers(npy(tmp_path, matrix), FigureOptions(hop_length=50, sample_rate=8000, **options))
    assert figure.settings == SpectrogramSettings(8000, n_fft, 50, n_fft)
    assert figure.relative_db.shape == (n_fft // 2 + 1, 6)
    np.testing.assert_allclose(figure.relative_db[:n_rows], matrix, atol=1e-5)
    assert (figure.relative_db[n_rows:] == -120).all()
    assert [w for w in figure.warnings if "taken for silent" in w] == (
        ["has 150 of 201 frequencies; those above are taken for silent"] if n_rows == 150 else []
    )


def test_which_row_is_lowest(tmp_path, magnitude):
    level_db = librosa.amplitude_to_db(magnitude)
    upright = read_numbers(npy(tmp_path, level_db), FigureOptions()).relative_db
    # A matrix is taken as it is, but what looks turned over is said.
    turned = read_numbers(npy(tmp_path, level_db[::-1]), FigureOptions())
    np.testing.assert_array_equal(turned.relative_db, upright[::-1])
    (warning,) = turned.warnings
    assert "dB quieter than the last; if its first row is the highest frequency say --upside_down false" in warning
    said = read_numbers(npy(tmp_path, level_db[::-1]), FigureOptions(upside_down=False))
    np.testing.assert_array_equal(said.relative_db, upright)
    # A picture's rows are found.
    for rows, answer in ((level_db, "yes"), (level_db[::-1], "no")):
        Image.fromarray(np.ascontiguousarray(rows)).save(tmp_path / "levels.tif")
        figure = read_numbers(tmp_path / "levels.tif", FigureOptions())
        np.testing.assert_array_equal(figure.relative_db, upright)
        assert found(figure)["upside_down"].value == answer
        assert found(figure)["upside_down"].confidence > 0.5


@pytest.mark.parametrize("kind", ["npy", "png", "tif"])
def test_16_bits(tmp_path, magnitude, kind):
    level_db = librosa.amplitude_to_db(magnitude, ref=np.max, top_db=100)
    codes = np.rint((level_db / 100 + 1) * 65535).astype(np.uint16)
    path = tmp_path / f"codes.{kind}"
    if kind == "npy":
        np.save(path, codes)
    else:
        Image.fromarray(codes[::-1].copy()).save(path)
    figure = read_numbers(path, FigureOptions(range_db=100))
    assert figure.settings == SpectrogramSettings(floor_db=-100.0)
    assert figure.level_db is None
    assert rms_db(figure, relative(magnitude), -99) < 0.001
    np.testing.assert_array_equal(figure.codes()[0], codes)


def test_8_bit_numbers(tmp_path, magnitude):
    codes = np.rint((librosa.amplitude_to_db(magnitude, ref=np.max) / 80 + 1) * 255).astype(np.uint8)
    figure = read_numbers(npy(tmp_path, codes), FigureOptions())
    assert figure.settings == SpectrogramSettings(floor_db=-80.0, bits=8)
    np.testing.assert_array_equal(figure.codes()[0], codes)
    # Said to be levels, they are not steps.
    levels = read_numbers(npy(tmp_path, (codes // 4)), FigureOptions(values="db"))
    assert levels.level_db == 63
    assert levels.relative_db.min() == -63


SPAN = np.linspace(0, -80, 129 * 6).reshape(129, 6)


def changed(matrix, value):
    matrix = matrix.copy()
    matrix[3, 2] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (SPAN + 80, {}, "numbers from 0 to 80 may be amplitudes, powers or levels; say which: --values mag"),
        (SPAN / 80 + 0.5, {}, "numbers from -0.5 to 0.5 are unlikely levels in dB; multiply natural logarithms"),
        (SPAN * 100, {"values": "db"}, "numbers from -8000 to 0 cannot be dB; say what they are: --values"),
        (SPAN, {"values": "power"}, "numbers from -80 to 0 are no power: some are negative; --values db"),
        (changed(SPAN, np.nan), {}, "1 of 774 numbers are NaN or infinite; mend what wrote them"),
        (changed(SPAN, np.inf), {}, "1 of 774 numbers are NaN or infinite"),
        (changed(SPAN, 1e300), {}, "1 of 774 numbers are NaN or infinite"),
        (np.zeros((129, 6)), {"values": "magnitude"}, "all cells are the same: silence, or no spectrogram; leave"),
        (np.zeros((129, 6), np.uint8), {}, "all cells are the same"),
        (SPAN[None], {}, r"an array of shape \(1, 129, 6\), \(frequencies, frames\) was expected; save one"),
        (SPAN[0], {}, r"an array of shape \(6,\)"),
        (SPAN[:0], {}, r"an array of shape \(0, 6\)|not a whole .npy file"),
        (SPAN[:, :1], {}, "has one column, and one frame makes no sound"),
        (SPAN.astype(complex), {}, "numbers of kind complex128, floats or integers were expected; of a complex"),
        (SPAN > 3, {}, "numbers of kind bool"),
        (SPAN.astype(object), {}, r"not a whole .npy file of numbers \(.*[Pp]ython obj.*\); save the matrix with np"),
        (SPAN.astype(str), {}, "numbers of kind <U"),
        (SPAN[:80], {}, r"80 rows are not the 2\*\*k \+ 1 of an STFT; say --y_axis mel .*, --y_axis linear \(and --n"),
        (SPAN[:128], {}, r"128 rows are not the 2\*\*k \+ 1"),
        (SPAN.T, {}, "6 rows are not .* is it transposed?"),
        (SPAN, {"n_fft": 400}, "129 rows are not the 201 of n_fft 400; say --y_axis"),
        (SPAN[:100], {"y_axis": "linear"}, "100 rows are of no usual n_fft; give --n_fft, 198 if it is so"),
        (SPAN, {"y_axis": "linear", "n_fft": 128}, "has 129 rows, but n_fft 128 has 65; leave --n_fft out"),
        (SPAN, {"y_axis": "log"}, "the rows of a matrix are no log axis; say --y_axis linear or mel"),
        (SPAN, {"y_axis": "mel", "n_mels": 80}, "129 rows are not the 80 of --n_mels; leave it out"),
        (SPAN, {"y_axis": "mel", "max_hz": 16000}, "max_hz 16000 is above half of sample_rate 22050; which of the two"),
        (SPAN, {"hop_length": 200}, "hop_length 200 is too long for a window of 256"),
        (SPAN, {"win_length": 512}, "win_length 512 is longer than n_fft 256"),
    ],
)  # fmt: skip
def test_matrices_that_are_refused(tmp_path, matrix, options, message):
    path = npy(tmp_path, matrix)
    with pytest.raises(InputError, match=message) as caught:
        read_numbers(path, FigureOptions(**options))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_sizes_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "huge.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(2**14 + 1, 20_000)).flush()
    with pytest.raises(InputError, match=r"16385 x 20000 cells, at most 2e\+08 are read; cut it up"):
        read_numbers(path, FigureOptions())


def refusal(path):
    """The message in a list, or nothing if the file is read."""
    try:
        read_numbers(path, FigureOptions())
    except InputError as error:
        return [str(error)]
    return []


def test_damaged_npy_files_are_named(tmp_path):
    path = npy(tmp_path, SPAN)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"PK\x03\x04" + content, b"Dear diary", *(content[:n] for n in (1, 6, 9, 20, 90, 128, 1000))]
    for n_brackets in (100, 3000):
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': " + b"(" * n_brackets + b"3, 4), }"
        damaged.append(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header)
    damaged += [
        content.replace(b"(129, 6)", shape) for shape in (b"(-12, 6)", b"(129,10**9)", b"(9**9,9)", b"'a', 'b'")
    ]
    for _ in range(60):
        scrambled = bytearray(content)
        for place in rng.integers(0, 128, 4):
            scrambled[place] = rng.integers(256)
        damaged.append(bytes(scrambled))
    messages = []
    for content in damaged:
        path.write_bytes(content)
        # What is scrambled may still be a matrix.
        messages += refusal(path)
    assert len(messages) > 40
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in messages)
    with pytest.raises(NotNow, match=r"cannot be opened \(No such file"):
        read_numbers(tmp_path / "missing.npy", FigureOptions())


def test_damaged_pictures_of_numbers_are_named(tmp_path):
    matrix = np.random.default_rng(0).uniform(0, 65535, (129, 60)).astype(np.uint16)
    for kind in ("png", "tif"):
        path = tmp_path / f"codes.{kind}"
        Image.fromarray(matrix).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=r"codes\.(png|tif): .*damaged"):
            read_numbers(path, FigureOptions())
    # Noise has no lower end.
    Image.fromarray(matrix).save(tmp_path / "noise.png")
    with pytest.raises(
        InputError, match="whether low frequencies are at the top cannot be told; say --upside_down true or"
    ):
        read_numbers(tmp_path / "noise.png", FigureOptions())
    for answer in (True, False):
        figure = read_numbers(tmp_path / "noise.png", FigureOptions(upside_down=answer))
        np.testing.assert_array_equal(figure.codes()[0], matrix if answer else matrix[::-1])


def test_seconds_that_do_not_fit_are_warned_of(tmp_path):
    path = npy(tmp_path, SPAN)
    assert read_numbers(path, FigureOptions(seconds=5 * 64 / RATE)).warnings == ()
    (warning,) = read_numbers(path, FigureOptions(seconds=3.0)).warnings
    assert (
        "has 6 columns, but 3 s at hop_length 64 and sample_rate 22050 are 1034; one of the three is wrong" in warning
    )


# ----------------------------------------------------------------------------------------------- pictures of matrices


def read_picture_cells(path, **options):
    with open_picture(path) as image:
        pixels = load_pixels(image, path)
        return read_cells(path, pixels.rows(0, pixels.height), FigureOptions(**options))


def audio_diffusion(waveform, size=256):
    """audio-diffusion's Mel.audio_slice_to_image (audiodiffusion/mel.py), row 0 the lowest band."""
    mel = librosa.feature.melspectrogram(y=waveform, sr=RATE, n_fft=2048, hop_length=512, n_mels=size)
    level_db = librosa.power_to_db(mel, ref=np.max, top_db=80)
    codes = (((level_db + 80) * 255 / 80).clip(0, 255) + 0.5).astype(np.uint8)
    return Image.fromarray(codes), mel


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_audio_diffusions_pictures(tmp_path, waveform, kind):
    image, mel = audio_diffusion(waveform)
    path = tmp_path / f"slice.{kind}"
    image.save(path, **({"quality": 95} if kind == "jpg" else {}))
    figure = read_picture_cells(path, y_axis="mel")
    assert figure.mel == MelBands(256, 0.0, RATE / 2)
    assert figure.settings == SpectrogramSettings(floor_db=-80.0, bits=8)
    answers = {name: found(figure)[name].value for name in ("upside_down", "colormap", "y_axis", "range_db", "level")}
    assert answers == {
        "upside_down": "yes",
        "colormap": "gray",
        "y_axis": "mel",
        "range_db": "80 dB",
        "level": "lost",
    }
    wanted = 10 * np.log10(np.maximum(mel / mel.max(), 1e-12))
    # A step of 8 bits is 0.31 dB, and 0.31 / sqrt(12) = 0.09.
    assert rms_db(figure, wanted, -79) < (0.1 if kind == "png" else 1.0)
    decoded = figure.magnitude().numpy()
    scale = 10 ** (-figure.white_db / 20) * np.sqrt(mel.max())
    wanted = np.abs(librosa.stft(waveform))
    assert convergence_db(decoded * scale, wanted) < -9
    # Better than the program's own way back, librosa's.
    theirs = librosa.feature.inverse.mel_to_stft(librosa.db_to_power(figure.relative_db), sr=RATE) * np.sqrt(mel.max())
    assert convergence_db(decoded * scale, wanted) < convergence_db(theirs, wanted)


@pytest.mark.parametrize("colormap", ["gray", "gray_r", "viridis", "magma_r"])
@pytest.mark.parametrize("origin", ["upper", "lower"])
def test_matplotlibs_imsave(tmp_path, magnitude, colormap, origin):
    level_db = librosa.amplitude_to_db(magnitude, ref=np.max)
    path = tmp_path / "array.png"
    mpl_image.imsave(path, level_db, cmap=colormap, origin=origin)
    figure = read_picture_cells(path)
    assert found(figure)["colormap"].value == colormap
    assert found(figure)["upside_down"].value == ("yes" if origin == "upper" else "no")
    assert found(figure)["n_fft"].value == "2048"
    # Greys are taken for 0 to 255 of 255, as other programs write them, and matplotlib's are 256 intervals.
    assert rms_db(figure, level_db, -79.9) < (0.2 if "gray" in colormap else 0.1)
    scaled = figure.magnitude().numpy() / 10 ** (figure.white_db / 20)
    assert convergence_db(scaled, magnitude / magnitude.max()) < (-29 if "gray" in colormap else -38)
    codes, white_db = figure.codes()
    assert codes.dtype == np.uint8
    steps = np.clip(np.floor((level_db / 80 + 1) * 256), 0, 255)
    # A map has colours twice, and in a reversed one the borders between colours belong to the other side.
    assert np.abs(codes - steps).max() <= 1
    assert white_db == pytest.approx(assumed_level_db(figure.settings), abs=0.2)


def test_what_is_said_of_a_picture_is_not_looked_for(tmp_path, magnitude):
    level_db = librosa.amplitude_to_db(magnitude, ref=np.max)
    path = tmp_path / "array.png"
    mpl_image.imsave(path, level_db, cmap="gray_r")
    wanted = read_picture_cells(path).relative_db
    said = read_picture_cells(path, colormap="Greys", upside_down=True)
    np.testing.assert_array_equal(said.relative_db, wanted)
    assert found(said)["colormap"].confidence is None
    wrong = read_picture_cells(path, colormap="gray", upside_down=False)
    np.testing.assert_allclose(wrong.relative_db, -80 - wanted[::-1], atol=1e-4)
    mpl_image.imsave(path, level_db, cmap="plasma")
    assert read_picture_cells(path, colormap="gnuplot2").warnings[0].startswith("its colours are far from gnuplot2: ")


def test_pictures_that_are_refused(tmp_path, magnitude):
    path = tmp_path / "array.png"

    def refuses(message, **options):
        with pytest.raises(InputError, match=message) as caught:
            read_picture_cells(path, **options)
        assert str(caught.value).startswith(f"{path}: ")

    noise = np.random.default_rng(0).integers(1, 255, (129, 60)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    refuses(r"whether black or white is loud cannot be told; give --colormap gray \(white is loud\) or gray_r")
    refuses("whether low frequencies are at the top cannot be told", colormap="gray")
    refuses("the picture is grey, not viridis; leave --colormap out", colormap="viridis")
    Image.fromarray(noise[:, :1]).save(path)
    refuses("has one column")
    Image.fromarray(noise[:128]).save(path)
    refuses("128 rows are not the")
    Image.new("L", (60, 129), 255).save(path)
    refuses("all cells are the same", colormap="gray")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (129, 60, 3)).astype(np.uint8)).save(path)
    refuses("colours are of no known colour map")


def test_a_matrix_becomes_sound(tmp_path, waveform, magnitude):
    figure = read_numbers(npy(tmp_path, librosa.amplitude_to_db(magnitude, top_db=None)), FigureOptions())
    decoded = GriffinLim(figure.settings)(figure.magnitude(), len(waveform))
    reached = np.abs(librosa.stft(decoded.numpy()))
    assert convergence_db(reached, magnitude) < -15
    level = 20 * np.log10(np.linalg.norm(decoded.numpy()) / np.linalg.norm(waveform))
    assert abs(level) < 0.5
