"""Channels mixed down to one: levels of every layout, what a mix loses, and one channel alone."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import music

from gan.errors import InputError
from gan.sound.mixdown import Mixdown
from gan.sound.recording import read_excerpt, windows

RATE = 48000
SINE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)).astype(np.float32)
FRONT, CENTER, SURROUND, NONE = -6.02, -3.01, -9.03, -math.inf
L_R_C_LFE_LS_RS = [FRONT, FRONT, CENTER, NONE, SURROUND, SURROUND]
L_C_R_LS_RS_LFE = [FRONT, CENTER, FRONT, SURROUND, SURROUND, NONE]


def write(path: Path, channels: list[np.ndarray], **options: Any) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), RATE, **options)
    return path


def mixed(path: Path, channel: str | int = "mix") -> tuple[np.ndarray, list[str]]:
    mixdown = Mixdown(channel)
    waveform = np.concatenate([window.waveform for window in windows(path, RATE, 10**6, 10**6, mixdown)])
    return waveform, mixdown.notes()


def levels_db(folder: Path, n_channels: int, suffix: str, **options: Any) -> list[float]:
    """Level of the mix, in dB, of a file in which one channel alone has a sound, for each channel."""
    levels = []
    for place in range(n_channels):
        channels = [SINE if channel == place else np.zeros_like(SINE) for channel in range(n_channels)]
        waveform, _ = mixed(write(folder / f"{place}.{suffix}", channels, **options))
        inner = slice(4000, 20000)
        ratio = np.linalg.norm(waveform[: len(SINE)][inner]) / np.linalg.norm(SINE[inner])
        levels.append(20 * math.log10(ratio) if ratio > 1e-3 else NONE)
    return levels


@pytest.mark.parametrize(
    ("suffix", "options", "expected"),
    [
        ("flac", {}, [FRONT, FRONT]),
        ("flac", {}, [FRONT, FRONT, CENTER]),
        ("flac", {}, [FRONT, FRONT, SURROUND, SURROUND]),
        ("flac", {}, L_R_C_LFE_LS_RS),
        ("flac", {}, [FRONT, FRONT, CENTER, NONE, -6.02, SURROUND, SURROUND]),
        ("flac", {}, [*L_R_C_LFE_LS_RS, SURROUND, SURROUND]),
        ("wav", {"format": "WAVEX"}, [FRONT, FRONT, SURROUND, SURROUND]),
        ("wav", {"format": "WAVEX"}, L_R_C_LFE_LS_RS),
        ("wav", {"format": "RF64"}, L_R_C_LFE_LS_RS),
        ("wav", {}, L_R_C_LFE_LS_RS),
        ("aiff", {}, L_R_C_LFE_LS_RS),
        ("wav", {}, [-12.04] * 4),
        ("aiff", {}, [-13.98] * 5),
        ("ogg", {}, L_C_R_LS_RS_LFE),
        ("opus", {"format": "OGG", "subtype": "OPUS"}, L_C_R_LS_RS_LFE),
    ],
)
def test_the_level_of_each_channel_in_the_mix(
    tmp_path: Path, suffix: str, options: dict[str, str], expected: list[float]
) -> None:
    found = levels_db(tmp_path, len(expected), suffix, **options)
    np.testing.assert_allclose(found, expected, atol=0.2 if suffix in {"ogg", "opus"} else 0.02)


def test_five_channels_sound_like_the_stereo_that_they_are_mixed_to(tmp_path: Path) -> None:
    left, right, center, bass, left_back, right_back = (0.1 * music(RATE // 2, seed, RATE) for seed in range(6))
    surround, _ = mixed(
        write(tmp_path / "a.flac", [left, right, center, bass, left_back, right_back], subtype="PCM_24")
    )
    stereo = [left + math.sqrt(0.5) * (center + left_back), right + math.sqrt(0.5) * (center + right_back)]
    mean, _ = mixed(write(tmp_path / "a.wav", stereo, subtype="FLOAT"))
    np.testing.assert_allclose(surround, mean, atol=1e-6)


def test_stereo_is_its_mean_to_the_last_bit(tmp_path: Path) -> None:
    channels = [music(RATE, seed, RATE) for seed in (1, 2)]
    waveform, notes = mixed(write(tmp_path / "a.wav", channels, subtype="FLOAT"))
    np.testing.assert_array_equal(waveform, np.stack(channels, 1).mean(axis=1, dtype=np.float32))
    assert notes == []


def correlated(correlation: float) -> list[np.ndarray]:
    first, second = 0.1 * np.random.default_rng(0).standard_normal((2, RATE))
    return [first, correlation * first + math.sqrt(1 - correlation**2) * second]


@pytest.mark.parametrize(
    ("channels", "down_db"),
    [
        ([SINE, -SINE], 120.0),
        ([SINE, -0.9 * SINE], 25.6),
        ([SINE, -0.5 * SINE], 10.0),
        (correlated(-0.6), 7.0),
        (correlated(-0.9), 13.0),
        ([SINE, -SINE, SINE, -SINE], 120.0),
    ],
)
def test_channels_that_cancel_each_other_are_said(tmp_path: Path, channels: list[np.ndarray], down_db: float) -> None:
    path = write(tmp_path / "a.wav", channels, subtype="FLOAT")
    *_, note = mixed(path)[1]
    seconds = len(channels[0]) / RATE
    found = float(note.removeprefix(f"{path}: the mix is ").partition(" dB quieter than its ")[0])
    assert found == pytest.approx(down_db, abs=0.2)
    assert f"{len(channels)} channels for {seconds:.1f} of {seconds:.1f} s" in note
    assert "--channel left or right" in note if len(channels) == 2 else "--channel N" in note


@pytest.mark.parametrize(
    "channels", [correlated(0.0), correlated(-0.3), correlated(1.0), [SINE, 0 * SINE], [SINE, SINE], [0 * SINE] * 2]
)
def test_ordinary_stereo_is_nothing_to_speak_of(tmp_path: Path, channels: list[np.ndarray]) -> None:
    assert mixed(write(tmp_path / "a.wav", channels, subtype="FLOAT"))[1] == []


def test_a_part_that_is_mixed_to_nothing_is_said_with_its_length(tmp_path: Path) -> None:
    first, second = 0.1 * np.random.default_rng(0).standard_normal((2, 4 * 16384)).astype(np.float32)
    second[16384:32768] = -first[16384:32768]
    (note,) = mixed(write(tmp_path / "a.wav", [first, second], subtype="FLOAT"))[1]
    assert "the mix is 120.0 dB quieter than its 2 channels for 0.3 of 1.4 s" in note


def test_a_sound_in_the_bass_channel_alone_is_not_lost_without_a_word(tmp_path: Path) -> None:
    silent = np.zeros_like(SINE)
    (note,) = mixed(write(tmp_path / "a.flac", [silent, silent, silent, SINE, silent, silent]))[1]
    assert "the mix is 120.0 dB quieter than its 6 channels" in note


def test_layouts_that_nothing_says_are_said(tmp_path: Path) -> None:
    (note,) = mixed(write(tmp_path / "a.wav", [SINE] * 6))[1]
    assert note.startswith(f"{tmp_path / 'a.wav'}: 6 channels that the file does not name, mixed as 5.1 (L R C LFE")
    assert note.endswith("without the LFE; --channel N takes one of them")
    (note,) = mixed(write(tmp_path / "b.wav", [SINE] * 4))[1]
    assert "4 channels that the file does not name, mixed to their mean" in note
    assert mixed(write(tmp_path / "c.wav", [SINE] * 6, format="WAVEX"))[1] == []


@pytest.mark.parametrize(
    ("n_channels", "suffix", "channel", "expected"),
    [
        (2, "wav", "left", 0),
        (2, "wav", "right", 1),
        (2, "wav", 2, 1),
        (1, "wav", "right", 0),
        (1, "wav", 1, 0),
        (6, "flac", "right", 1),
        (6, "ogg", "right", 2),
        (6, "ogg", 2, 1),
        (6, "wav", 4, 3),
        (3, "wav", 3, 2),
    ],
)
def test_one_channel_is_taken(tmp_path: Path, n_channels: int, suffix: str, channel: str | int, expected: int) -> None:
    channels = [SINE if number == expected else np.zeros_like(SINE) for number in range(n_channels)]
    path = write(tmp_path / f"a.{suffix}", channels)
    for waveform, notes in (mixed(path, channel), (read_excerpt(path, RATE, 0, len(SINE), Mixdown(channel)), [])):
        assert np.abs(waveform).max() == pytest.approx(0.3, rel=0.05)
        assert notes == []


@pytest.mark.parametrize(
    ("n_channels", "channel", "message"),
    [
        (1, 2, "channel 2 of 1 is not there; give a lower one, or mix"),
        (2, 3, "channel 3 of 2 is not there"),
        (3, "left", "which of 3 channels is left is unknown; give its number"),
    ],
)
def test_a_channel_that_is_not_there(tmp_path: Path, n_channels: int, channel: str | int, message: str) -> None:
    path = write(tmp_path / "a.wav", [SINE] * n_channels)
    with pytest.raises(InputError) as caught:
        mixed(path, channel)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("channel", ["middle", 0, -1, True])
def test_what_is_no_channel(channel: str | int) -> None:
    with pytest.raises(InputError, match="it must be mix, left, right, or a number from 1 on"):
        Mixdown(channel)
