"""riffusion's pictures, made here as riffusion makes them (riffusion-hobby)."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gan.errors import InputError
from gan.sound.figure.arrays import is_riffusion, read_riffusion
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import open_picture
from gan.sound.mel import MelBands
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

RIFFUSION = MelBands(512, 0.0, 10000.0, htk=True, norm=None, power=1)
RIFFUSION_GRID = SpectrogramSettings(44100, 17640, 441, 4410)
TAGS = {
    11000: 44100, 11005: False, 11010: 10, 11020: 100, 11030: 400, 11040: 512, 11050: 0, 11060: 10000, 11070: 0.25,
}  # fmt: skip


def riffusion_amplitudes(samples):
    """SpectrogramConverter.mel_amplitudes_from_waveform of whole numbers, shape (channels, 512, n_frames)."""
    stft = torch.stft(
        torch.from_numpy(samples.astype(np.float32)), 17640, 441, 4410, torch.hann_window(4410), center=True,
        pad_mode="reflect", return_complex=True,
    )  # fmt: skip
    fft_hz = torch.linspace(0, 44100 // 2, 8821)
    mel = np.linspace(0, 2595 * np.log10(1 + 10000 / 700), 514)
    hz = torch.from_numpy(700 * (10 ** (mel / 2595) - 1))
    slopes = hz[:, None] - fft_hz
    widths = hz.diff()
    filters = torch.minimum(-slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]).clamp_min(0)
    return (filters.float() @ stft.abs()).numpy()


def riffusion(amplitudes, tags=(), missing=()):
    """image_util.image_from_spectrogram and SpectrogramImageConverter.spectrogram_image_from_audio."""
    data = 255 - np.power(amplitudes / np.max(amplitudes), 0.25) * 255
    data = data.astype(np.uint8)
    if len(data) == 1:
        image = Image.fromarray(data[0]).convert("RGB")
    else:
        image = Image.fromarray(np.array([np.zeros_like(data[0]), data[0], data[1]]).transpose(1, 2, 0).copy())
    image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    exif = image.getexif()
    exif.update({**TAGS, 11005: len(data) == 2, 11080: float(np.max(amplitudes)), **dict(tags)}.items())
    for tag in missing:
        del exif[tag]
    return image, exif


def read_riffusions(path, **options):
    with open_picture(path) as image:
        assert is_riffusion(image)
        return read_riffusion(path, image, FigureOptions(**options))


def relative(amplitudes, loudest=None):
    return 20 * np.log10(np.maximum(amplitudes, 1e-12) / (loudest or amplitudes.max()))


def rms_db(relative_db, wanted_db):
    """Root mean square difference of levels in dB down to -60."""
    return float(np.sqrt(np.mean((relative_db - wanted_db)[wanted_db > -60] ** 2)))


def value_of(figure, name):
    return next(finding.value for finding in figure.findings if finding.name == name)


@pytest.fixture
def samples(sound):
    """16-bit samples at 44.1 kHz, two channels, one second."""
    left, right = sound(44100, seed=1, sample_rate=44100), sound(44100, seed=2, sample_rate=44100)
    return np.rint(32767 * np.stack([left, 0.5 * right])).astype(np.int16)


@pytest.mark.parametrize(("kind", "limit"), [("png", 0.25), ("jpg", 1.0), ("webp", 1.5)])
def test_riffusions_pictures(tmp_path, samples, kind, limit):
    amplitudes = riffusion_amplitudes(samples[:1])
    image, exif = riffusion(amplitudes)
    path = tmp_path / f"clip.{kind}"
    image.save(path, exif=exif, **({} if kind == "png" else {"quality": 95}))
    figure = read_riffusions(path)
    assert figure.settings == RIFFUSION_GRID
    assert figure.mel == RIFFUSION
    assert figure.warnings == ()
    assert value_of(figure, "level") == "known"
    # Full scale is 1 here and 32768 there.
    assert figure.level_db == pytest.approx(20 * np.log10(amplitudes.max() / 32768), abs=1e-3)
    wanted = relative(amplitudes[0])
    assert rms_db(figure.relative_db, wanted) < limit
    if kind == "png":
        heard = wanted > -60
        assert abs((figure.relative_db - wanted)[heard].mean()) < 0.01
        # riffusion's own way back does not put half a step back.
        theirs = 20 * np.log10(np.maximum((255 - np.asarray(image)[::-1, :, 0].astype(float)) / 255, 1e-9) ** 4)
        assert rms_db(figure.relative_db, wanted) < 0.6 * rms_db(theirs, wanted)
        magnitude = magnitude_from_waveform(torch.from_numpy(samples[0] / np.float32(32768)), RIFFUSION_GRID).numpy()
        heard = np.arange(8821) * 44100 / 17640 < 9000
        # The frames at the ends see the sound mirrored.
        wanted = magnitude[heard, 6:-6]
        error = figure.magnitude().numpy()[heard, 6:-6] - wanted
        assert np.linalg.norm(error) < 0.18 * np.linalg.norm(wanted)


def test_riffusions_stereo(tmp_path, samples):
    amplitudes = riffusion_amplitudes(samples)
    image, exif = riffusion(amplitudes)
    image.save(tmp_path / "stereo.png", exif=exif)
    figure = read_riffusions(tmp_path / "stereo.png")
    assert value_of(figure, "channels") == "2"
    wanted = relative(amplitudes.mean(axis=0), amplitudes.max())
    assert figure.level_db == pytest.approx(20 * np.log10(amplitudes.max() / 32768), abs=1e-3)
    assert rms_db(figure.relative_db, wanted) < 0.25


def test_riffusions_level(tmp_path, samples):
    amplitudes = riffusion_amplitudes(samples[:1])
    path = tmp_path / "clip.png"

    def level(**changes):
        image, exif = riffusion(amplitudes, **changes)
        image.save(path, exif=exif)
        return read_riffusions(path).level_db

    level_db = 20 * np.log10(amplitudes.max() / 32768)
    # pydub makes 24 bits 32.
    assert level(tags={11080: float(amplitudes.max()) * 65536}) == pytest.approx(level_db, abs=1e-3)
    assert level(missing=[11080]) is None
    assert level(tags={11080: float("nan")}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"missing": [11070]}, r"riffusion's settings in it are of no use \(tag 11070 is missing\); make the pic"),
        ({"tags": {11070: 0.0}}, "of no use .power_for_image 0"),
        ({"tags": {11070: "loud"}}, "of no use .could not convert string"),
        ({"tags": {11000: 2_000_000_000}}, "of no use .power_for_image 0.25, n_fft 800000000"),
        ({"tags": {11000: 0}}, "of no use .n_fft is 0|of no use .sample_rate is 0"),
        ({"tags": {11020: 10}}, "of no use .hop_length 441 is too long"),
        ({"tags": {11060: 0}}, "of no use .mel bands from 0.0 to 0.0 Hz"),
        ({"tags": {11040: 256}}, "512 pixels high, but riffusion's settings in it say 256; was it resized"),
        ({"tags": {11080: 0.0}}, "shows nothing but silence; leave it out"),
    ],
)  # fmt: skip
def test_riffusions_settings_are_checked(tmp_path, change, message):
    image, exif = riffusion(np.random.default_rng(0).uniform(1, 1000, (1, 512, 20)), **change)
    path = tmp_path / "clip.png"
    image.save(path, exif=exif)
    with pytest.raises(InputError, match=message) as caught:
        read_riffusions(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_riffusion_is_told_from_others(tmp_path):
    image, exif = riffusion(np.random.default_rng(0).uniform(1, 1000, (1, 512, 60)))
    path = tmp_path / "clip.png"
    image.save(path, exif=exif)
    (warning,) = read_riffusions(path, n_fft=2048, n_mels=512).warnings
    assert warning == "n_fft 2048 was given, but the file says 17640 and is right"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"clip\.png: the picture is damaged"):
        read_riffusions(path)
    for others in (None, b"Exif\0\0nonsense", b""):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", **({} if others is None else {"exif": others}))
        assert not is_riffusion(Image.open(buffer))
