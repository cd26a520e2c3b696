"""Which stretch of which recording a figure shows."""

import numpy as np
import pytest

from gan.data.names import Place, places
from gan.sound.settings import SpectrogramSettings

LIBROSA = SpectrogramSettings(floor_db=-80.0, bits=8)
MINUTE = 1 + 60 * 22050 // 512


def named(*files: str, n_frames: int = MINUTE, settings: SpectrogramSettings = LIBROSA) -> dict[str, Place]:
    return places(dict.fromkeys(files, n_frames), settings)


def test_names_of_the_question():
    assert MINUTE == 2584
    found = named("song.mp360.jpg", "song.mp3120.jpg", "song.mp3180.jpg", "song.mp3187.35863945578232.jpg")
    assert {place.recording for place in found.values()} == {"song.mp3"}
    assert [place.start_second for place in found.values()] == [0.0, 60.0, 120.0, 187.35863945578232 - 60]


@pytest.mark.parametrize(
    ("file", "recording", "start"),
    [
        ("a.b.wav60.jpg", "a.b.wav", 0.0),
        ("x.mp360.jpg", "x.mp3", 0.0),
        ("track1.wav60.jpg", "track1.wav", 0.0),
        ("Söng — 夜.flac120.jpeg", "Söng — 夜.flac", 60.0),
        ("sub/deeper/song.ogg120.png", "sub/deeper/song.ogg", 60.0),
        ("sub.wav60/song.ogg120.png", "sub.wav60/song.ogg", 60.0),
        ("LOUD.MP3120.JPG", "LOUD.MP3", 60.0),
        ("x.mp4120.jpg", "x.mp4", 60.0),
        ("x.w6460.jpg", "x.w64", 0.0),
        ("x.aifc60.jpg", "x.aifc", 0.0),
        ("x.aif60.jpg", "x.aif", 0.0),
        ("twice.wav60.mp3120.jpg", "twice.wav60.mp3", 60.0),
        ("twice.wav.mp3120.0.jpg", "twice.wav.mp3", 60.0),
        ("2 minutes.m4a3600.jpg", "2 minutes.m4a", 3540.0),
        ("line\nbreak.wav60.jpg", "line\nbreak.wav", 0.0),
    ],
)
def test_recording_and_start(file, recording, start):
    assert named(file, "other.wav60.jpg", "other.wav120.jpg")[file] == Place(recording, start)


@pytest.mark.parametrize(
    "file",
    ["60.jpg", "song60.jpg", "song.jpg", "song.wav.jpg", "a/60.png", "x.wav-60.jpg", "x.wav60b.jpg", "x.wav6.0.0.jpg"],
)
def test_other_names_are_recordings_of_their_own(file):
    assert named(file) == {file: Place(file, 0.0)}


def test_recordings_that_differ_in_digits_are_told_apart():
    files = ("track1.wav60.jpg", "track1.wav120.jpg", "track11.wav60.jpg", "track.wav160.jpg", "track16.wav6.5.jpg")
    found = named(*files)
    assert [place.recording for place in found.values()] == [
        "track1.wav", "track1.wav", "track11.wav", "track.wav", "track16.wav",
    ]  # fmt: skip


def test_same_name_in_two_folders_is_two_recordings():
    found = named("a/x.wav60.jpg", "b/x.wav60.jpg")
    assert len({place.recording for place in found.values()}) == 2


@pytest.mark.parametrize("n_frames", [2583, 2584, 2585])
def test_length_of_a_window_is_the_step_if_the_frames_agree(n_frames):
    found = named("x.wav60.jpg", "x.wav120.jpg", "x.wav150.5.jpg", n_frames=n_frames)
    assert [place.start_second for place in found.values()] == [0.0, 60.0, 90.5]


def test_step_of_other_recordings_helps_a_lone_figure():
    alone = named("x.wav99.25.jpg")["x.wav99.25.jpg"]
    assert alone.start_second == pytest.approx(99.25 - 59.977, abs=1e-3)  # 2583 hops of 512 samples
    assert named("x.wav99.25.jpg", "y.wav60.jpg")["x.wav99.25.jpg"].start_second == 39.25


def test_steps_that_do_not_agree_with_the_frames_are_not_used():
    # Every second window was deleted.
    found = named("x.wav120.jpg", "x.wav240.jpg", "x.wav360.jpg")
    assert [place.start_second for place in found.values()] == pytest.approx([60, 180, 300], abs=0.03)


@pytest.mark.parametrize(
    ("sample_rate", "hop_length", "seconds"),
    [(44100, 512, 10), (8000, 64, 2.5), (22050, 512, 30)],
)
def test_windows_of_any_length(sample_rate, hop_length, seconds):
    settings = SpectrogramSettings(sample_rate, 4 * hop_length, hop_length, 4 * hop_length, floor_db=-80.0, bits=8)
    ends = [*np.arange(1, 5) * seconds, 4.3 * seconds]
    files = [f"x.wav{end}.png" for end in ends]
    found = named(*files, n_frames=settings.n_frames(round(seconds * sample_rate)), settings=settings)
    assert [found[file].start_second for file in files] == pytest.approx([end - seconds for end in ends], abs=1e-9)


def test_a_short_last_window_ends_at_its_end():
    found = places({"x.wav60.jpg": 2584, "x.wav120.jpg": 2584, "x.wav135.2.jpg": 655}, LIBROSA)
    assert found["x.wav135.2.jpg"].start_second == pytest.approx(120.0, abs=0.03)


def test_small_numbers_count_windows():
    found = named(*(f"x.wav{number}.jpg" for number in range(70)))
    starts = [place.start_second for place in found.values()]
    # One after the other: none overlaps the next.
    assert starts == pytest.approx(np.arange(70) * 2584 * 512 / 22050)
    assert {place.recording for place in found.values()} == {"x.wav"}
