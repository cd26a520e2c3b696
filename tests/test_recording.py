"""Reading recordings in blocks against reading them whole, and every kind of damage."""

import errno
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from conftest import music, with_flac_length

from gan.errors import InputError, NotNow
from gan.sound import recording
from gan.sound.recording import (
    SUFFIXES,
    has_comment,
    open_as_named,
    quieter_db,
    read_excerpt,
    read_recording_header,
    windows,
    write_recording,
)


def resampled(path: Path, sample_rate: int) -> np.ndarray:
    """The whole recording at once, mixed down."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, sample_rate)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks in a second of sound."""
    monkeypatch.setattr(recording, "_BLOCK_FRAMES", 5000)


@pytest.mark.parametrize(
    ("n_samples", "window", "step", "starts"),
    [
        (1000, 4000, 4000, [0]),
        (4000, 4000, 4000, [0]),
        (4001, 4000, 4000, [0, 1]),
        (12000, 4000, 4000, [0, 4000, 8000]),
        (12001, 4000, 4000, [0, 4000, 8000, 8001]),
        (15000, 4000, 4000, [0, 4000, 8000, 11000]),
        (10000, 4000, 1500, [0, 1500, 3000, 4500, 6000]),
        (10001, 4000, 1500, [0, 1500, 3000, 4500, 6000, 6001]),
        (20000, 4000, 7000, [0, 7000, 14000, 16000]),
        (18000, 4000, 7000, [0, 7000, 14000]),
        (13000, 4000, 7000, [0, 7000, 9000]),
        (12000, 4000, 12000, [0, 8000]),
        (30000, 20000, 20000, [0, 10000]),
        (1, 4000, 4000, [0]),
    ],
)
def test_layouts(tmp_path: Path, n_samples: int, window: int, step: int, starts: list[int]) -> None:
    path = tmp_path / "sound.wav"
    waveform = music(n_samples)
    soundfile.write(path, waveform, 22050, "FLOAT")
    cut = list(windows(path, 22050, window, step))
    assert [piece.start_sample for piece in cut] == starts
    assert [piece.last for piece in cut] == [False] * (len(starts) - 1) + [True]
    for piece in cut:
        assert piece.waveform.dtype == np.float32
        assert len(piece.waveform) == min(window, n_samples)
        np.testing.assert_allclose(piece.waveform, waveform[piece.start_sample :][:window], atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_streaming_is_resampling_at_once(tmp_path: Path, suffix: str, rate: int) -> None:
    path = tmp_path / f"sound.{suffix}"
    n_samples = rate + 123
    soundfile.write(path, np.stack([music(n_samples, 1, rate), music(n_samples, 2, rate)], axis=1), rate)
    whole = resampled(path, 22050)
    assert abs(len(whole) - 22050 * n_samples / rate) < (3000 if suffix == "mp3" else 2)
    cut = list(windows(path, 22050, 6000, 6000))
    assert cut[-1].start_sample + len(cut[-1].waveform) == len(whole)
    for piece in cut:
        np.testing.assert_allclose(piece.waveform, whole[piece.start_sample :][:6000], atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("wav", {"subtype": "PCM_U8"}),
        ("wav", {"subtype": "PCM_24"}),
        ("wav", {"subtype": "DOUBLE"}),
        ("aifc", {"format": "AIFF"}),
        ("aif", {"format": "AIFF"}),
        ("w64", {}),
        ("caf", {}),
        ("au", {}),
        ("oga", {"format": "OGG"}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("WAV", {"format": "WAV"}),
    ],
)
def test_other_formats(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = tmp_path / f"sound.{suffix}"
    assert path.suffix.lower() in SUFFIXES
    waveform = music(24000, sample_rate=24000)
    soundfile.write(path, waveform, 24000, **options)
    (piece,) = windows(path, 24000, 30000, 30000)
    np.testing.assert_allclose(piece.waveform, resampled(path, 24000), atol=1e-6)
    error = np.linalg.norm(piece.waveform[:24000] - waveform) / np.linalg.norm(waveform)
    assert error < (0.4 if suffix in {"oga", "opus"} else 0.05)


def test_mix_down_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    path = tmp_path / "three.wav"
    channels = np.stack([music(9000, seed) for seed in range(3)], axis=1)
    soundfile.write(path, channels, 16000, "FLOAT")
    (piece,) = windows(path, 16000, 9000, 9000)
    np.testing.assert_allclose(piece.waveform, channels.mean(axis=1), atol=1e-7)


def test_a_tone_keeps_its_level_and_pitch(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000), 48000, "FLOAT")
    (piece,) = windows(path, 22050, 22050, 22050)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(22050) / 22050)
    np.testing.assert_allclose(piece.waveform[2000:-2000], expected[2000:-2000], atol=1e-4)


def test_long_recordings_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    path = tmp_path / "long.wav"
    seconds, rate = 600, 16000
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_U8") as file:
        for second in range(seconds):
            file.write(music(rate, second) if second % 60 == 0 else np.zeros(rate, np.float32))
    tracemalloc.start()
    n_windows = sum(1 for _ in windows(path, rate, 30 * rate, 30 * rate))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_windows == 20
    assert peak < 4 * 30 * rate * 4  # a few windows of the twenty


def test_bad_recordings_are_named(tmp_path: Path, write_bad_recordings: Callable[[Path], dict[str, str]]) -> None:
    messages = write_bad_recordings(tmp_path)
    assert len(messages) > 18
    for name, message in messages.items():
        with pytest.raises(InputError) as caught:
            list(windows(tmp_path / name, 22050, 4000, 4000))
        assert str(caught.value).startswith(str(tmp_path / name)), name
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.wav: cannot be read"):
        list(windows(tmp_path / "gone.wav", 22050, 4000, 4000))


@pytest.mark.parametrize("part", [0.5, 0.7, 0.93, 0.999])
@pytest.mark.parametrize("suffix", ["ogg", "flac", "mp3"])
def test_truncation_is_seen_wherever_it_is(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, music(60000), 22050)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match="truncated"):
        list(windows(path, 22050, 4000, 4000))


def wav_with_sizes(path: Path, riff: int, data: int) -> None:
    content = bytearray(path.read_bytes())
    content[4:8] = struct.pack("<I", riff)
    assert content[36:40] == b"data"
    content[40:44] = struct.pack("<I", data)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg, to a pipe
        (0xFFFFFFFF, 0xFFFFFFFF - 36),
        (0x7FFFF024, 0x7FFFF000),  # SoX, to a pipe
        (20044, 20000),  # the size of the file, not of what follows: a common mistake
        (36, 20000),
    ],
)
def test_harmless_sizes_are_accepted(tmp_path: Path, riff: int, data: int) -> None:
    path = tmp_path / "sound.wav"
    waveform = music(10000)
    soundfile.write(path, waveform, 22050)
    wav_with_sizes(path, riff, data)
    (piece,) = windows(path, 22050, 10000, 10000)
    np.testing.assert_allclose(piece.waveform, waveform, atol=1e-4)


def test_a_comment_cut_off_behind_the_samples_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, music(10000), 22050)
    comment = b"LIST" + struct.pack("<I", 12) + b"INFOabcdefgh"
    wav_with_sizes(path, 20036 + len(comment), 20000)
    path.write_bytes(path.read_bytes() + comment[:-5])
    assert sum(len(piece.waveform) for piece in windows(path, 22050, 10000, 10000)) == 10000


def test_a_flac_without_length_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "pipe.flac"
    waveform = music(30000)
    soundfile.write(path, waveform, 22050)
    path.write_bytes(with_flac_length(path.read_bytes(), 0))
    (piece,) = windows(path, 22050, 30000, 30000)
    np.testing.assert_allclose(piece.waveform, waveform, atol=1e-4)


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_an_ogg_with_a_tag_behind_it_is_accepted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, music(48000), 48000, format="OGG", subtype="OPUS" if suffix == "opus" else "VORBIS")
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    (piece,) = windows(path, 48000, 48000, 48000)
    assert len(piece.waveform) == 48000


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("start_second", [0.0, 0.5, 1.0])
def test_excerpts_are_parts_of_the_whole(tmp_path: Path, rate: int, start_second: float) -> None:
    path = tmp_path / "sound.flac"
    soundfile.write(path, np.stack([music(2 * rate, seed, rate) for seed in (1, 2)], axis=1), rate)
    whole = resampled(path, 22050)
    start = round(start_second * 22050)
    excerpt = read_excerpt(path, 22050, start_second, 11025)
    assert excerpt.dtype == np.float32
    assert excerpt.shape == (11025,)
    # The resampling filter starts from silence.
    np.testing.assert_allclose(excerpt[500:], whole[start + 500 : start + 11025], atol=1e-4)


def test_an_excerpt_past_the_end_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    waveform = music(11025)
    soundfile.write(path, waveform, 22050, "FLOAT")
    over = read_excerpt(path, 22050, 0.25, 22050)
    n_there = 11025 - round(0.25 * 22050)
    np.testing.assert_allclose(over[:n_there], waveform[-n_there:], atol=1e-6)
    assert not over[n_there:].any()
    assert not read_excerpt(path, 22050, 3.0, 100).any()
    assert not read_excerpt(path, 16000, 3.0, 100).any()
    with pytest.raises(InputError, match="cannot be read as sound"):
        read_excerpt(tmp_path / "gone.wav", 22050, 0.0, 100)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e38])
def test_excerpts_are_numbers(tmp_path: Path, wrong: float) -> None:
    waveform = np.stack([music(3000)] * 2, 1)
    waveform[1000] = wrong
    soundfile.write(tmp_path / "a.wav", waveform, 8000, "FLOAT")
    for read in (lambda path: read_excerpt(path, 8000, 0.0, 2000), lambda path: list(windows(path, 8000, 2000, 2000))):
        with pytest.raises(InputError, match=r"a\.wav: holds samples that are not numbers"):
            read(tmp_path / "a.wav")
    assert np.isfinite(read_excerpt(tmp_path / "a.wav", 8000, 0.2, 500)).all()


def test_a_decoder_that_is_behind_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As damaged mp3 files lead libmpg123: soundfile then counts how much is left below zero."""
    path = tmp_path / "a.wav"
    soundfile.write(path, music(3000), 8000)
    monkeypatch.setattr(soundfile.SoundFile, "tell", lambda self: 4000)
    with pytest.raises(InputError, match="damaged or truncated"):
        read_recording_header(path)
    with pytest.raises(InputError, match="cannot be read as sound"):
        read_excerpt(path, 8000, 0.0, 2000)


LOUD = np.sin(np.arange(8000) / 9) * np.linspace(0.2, 1, 8000)
LOUD = (LOUD * 2.3 / np.abs(LOUD).max()).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("flac", "PCM_16"), ("flac", "PCM_24"), ("wav", "PCM_16"), ("wav", "PCM_24")]
)
@pytest.mark.parametrize("peak", [0.5, 0.9989, 0.9991, 1.0, 2.3, 1e30])
def test_nothing_is_clipped_and_the_gain_is_said(tmp_path, suffix, subtype, peak):
    waveform = (LOUD / 2.3 * peak).astype(np.float32)
    path = tmp_path / f"a.{suffix}"
    fitted = write_recording(path, waveform, 8000, subtype, comment="of a test")
    with soundfile.SoundFile(path) as file:
        read, comment = file.read(), file.comment
    expected = min(1.0, 0.999 / peak)
    np.testing.assert_allclose(read, waveform * np.float64(expected), rtol=0, atol=2.0**-15)
    assert np.corrcoef(read, waveform.astype(np.float64))[0, 1] > 1 - 1e-8
    assert np.abs(read).max() < 1
    assert fitted.gain_db == pytest.approx(20 * np.log10(expected), abs=1e-6)
    assert quieter_db(comment) == pytest.approx(-fitted.gain_db, abs=0.0051)
    assert comment == (f"of a test, {fitted.note}" if peak > 0.999 else "of a test")


def test_floats_keep_every_level(tmp_path):
    assert write_recording(tmp_path / "a.wav", LOUD, 8000, "FLOAT", "of a test").note == ""
    read, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(read, LOUD)


def test_samples_that_are_not_numbers_are_silent_and_said(tmp_path):
    waveform = LOUD.copy()
    waveform[10], waveform[20], waveform[30] = np.nan, np.inf, -np.inf
    note = write_recording(tmp_path / "a.flac", waveform, 8000).note
    assert note == "made 7.24 dB quieter so that it does not clip, 3 samples that were not numbers are silent"
    read, _ = soundfile.read(tmp_path / "a.flac")
    np.testing.assert_allclose(read, np.where(np.isfinite(waveform), LOUD, 0) * 0.999 / 2.3, rtol=0, atol=2.0**-14)
    assert quieter_db("made 99999.00 dB quieter so that it does not clip") == 0.0


def unclosed(path: Path, kind: str, size: int) -> np.ndarray:
    """A file as a writer leaves it that cannot seek back: 0 or -1 where the length of its samples belongs."""
    waveform = music(10000)
    options = {"format": "WAV", "endian": "BIG"} if kind == "RIFX" else {"format": kind}
    soundfile.write(path, waveform, 22050, **options)
    content = bytearray(path.read_bytes())
    data = content.find(b"data")
    fields = {
        "WAV": [(4, 4, "little"), (data + 4, 4, "little")],
        "RIFX": [(4, 4, "big"), (data + 4, 4, "big")],
        "WAVEX": [(4, 4, "little"), (data + 4, 4, "little")],
        "RF64": [(20, 8, "little"), (28, 8, "little"), (36, 8, "little")],
        "AU": [(8, 4, "big")],
        "CAF": [(data + 4, 8, "big")],
        "W64": [(data + 16, 8, "little")],
        "AIFF": [(4, 4, "big"), (22, 4, "big"), (content.find(b"SSND") + 4, 4, "big")],
    }
    for place, n_bytes, order in fields[kind]:
        content[place : place + n_bytes] = (size % 256**n_bytes).to_bytes(n_bytes, order)  # type: ignore[arg-type]
    path.write_bytes(content)
    return waveform


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("kind", ["WAV", "RIFX", "WAVEX", "RF64", "AU", "CAF", "W64", "AIFF"])
def test_a_file_of_a_writer_that_could_not_seek_is_read_to_its_end(tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / "pipe.wav"
    waveform = unclosed(path, kind, size)
    (piece,) = windows(path, 22050, 20000, 20000)
    np.testing.assert_allclose(piece.waveform, waveform, atol=1e-4)
    assert read_recording_header(path).n_samples == 10000
    np.testing.assert_allclose(read_excerpt(path, 22050, 0.2, 3000), waveform[4410:7410], atol=1e-4)


@pytest.mark.parametrize("riff", [0, 8, 36, 20036, 0xFFFFFFFF])
def test_a_size_of_0_is_no_length_whatever_the_riff_size(tmp_path: Path, riff: int) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, music(10000), 22050)
    wav_with_sizes(path, riff, 0)
    assert sum(len(piece.waveform) for piece in windows(path, 22050, 10000, 10000)) == 10000


def test_a_wav_that_really_has_no_samples_but_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, music(0), 22050)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 12) + b"INFOabcdefgh")
    with pytest.raises(InputError, match="it holds no samples"):
        list(windows(path, 22050, 4000, 4000))


def test_a_wav_longer_than_its_sizes_can_say(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, music(10000), 22050)
    wav_with_sizes(path, 0xFFFFFFFF, 0xFFFFFFFF)
    with path.open("r+b") as file:
        file.truncate(44 + 5 * 2**30)  # a hole, which takes no room
    assert read_recording_header(path).n_samples == 5 * 2**29
    (first, *_) = read_excerpt(path, 22050, 0.0, 3000)[None]
    np.testing.assert_allclose(first, music(10000)[:3000], atol=1e-4)


ID3 = b"ID3\x03\0\0\0\0\x07\x68" + bytes(1000)
ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)


@pytest.mark.parametrize("content", [ID3, ID3 + ID3V1, ID3V1, ID3 + APE, ID3 + bytes(500), ID3 + ID3])
def test_an_mp3_of_nothing_but_tags_holds_no_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    for read in (lambda: list(windows(path, 8000, 10, 10)), lambda: read_recording_header(path)):
        with pytest.raises(InputError, match=r"a\.mp3: it holds no sound, only tags"):
            read()
    soundfile.write(path, music(8000), 8000)
    path.write_bytes(ID3 + path.read_bytes() + ID3V1)
    assert read_recording_header(path).n_samples == 8000


def test_a_name_that_is_no_text_or_too_long_for_libsndfile(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 6)
    deep.mkdir(parents=True)
    waveform = music(8000)
    for path in (tmp_path / os.fsdecode(b"\xff\xfe.wav"), deep / "a.flac"):
        assert write_recording(path, waveform, 8000, comment="of a test").note == ""
        (window,) = windows(path, 8000, 8000, 8000)
        np.testing.assert_allclose(window.waveform, waveform, atol=2.0**-15)
        np.testing.assert_array_equal(read_excerpt(path, 8000, 0.0, 8000), window.waveform)
        assert read_recording_header(path).comment == "of a test"
        assert has_comment(path, "of a")
        with open_as_named(path) as file:
            assert file.frames == 8000


def test_a_recording_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, music(8000), 8000)

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "open", refuse)
    for read in (lambda: list(windows(path, 8000, 10, 10)), lambda: read_recording_header(path)):
        with pytest.raises(NotNow, match=r"a\.wav: cannot be read \(Permission denied\)"):
            read()


def test_a_recording_that_has_to_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "my song.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(InputError) as caught:
        list(windows(path, 8000, 10, 10))
    command = f"ffmpeg -i '{path}' '{tmp_path / 'my song.wav'}'"
    assert str(caught.value) == f"{path}: .m4a files are not read; convert it first: {command}"
