"""`gan encode`: folder trees of recordings to images, whatever happens in between."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import music, without_progress
from PIL import Image

from gan.commands.main import main
from gan.sound import encoder
from gan.sound.codec import decode_image, read_header
from gan.sound.settings import SpectrogramSettings

RATE = 8000
SMALL = ["--sample_rate", str(RATE), "--n_fft", "256", "--window_seconds", "1"]


def write(path: Path, seconds: float, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, music(round(seconds * RATE), seed, RATE), RATE)
    return path


def encode(recordings: Path, images: Path, *options: str) -> int:
    return main(["encode", str(recordings), str(images), *SMALL, *options])


def names(folder: Path) -> list[str]:
    """All files of a folder tree, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def times(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in names(folder)}


def changed(folder: Path, before: dict[str, int]) -> set[str]:
    return {name for name, modified in times(folder).items() if before.get(name) != modified}


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """One recording of 5 windows, the last of which overlaps."""
    write(tmp_path / "recordings" / "five.wav", 4.5)
    return tmp_path / "recordings"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return tmp_path / "images"


def test_a_folder_tree(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = tmp_path / "recordings"
    write(recordings / "a" / "deep" / "Übung.flac", 2.5)
    write(recordings / "a" / "short.wav", 0.4)
    write(recordings / "b.OGG", 1)
    for other in ("notes.txt", "a/cover.jpg", ".hidden.wav", "a/b.wav.asd"):
        (recordings / other).write_bytes(b"not a sound")
    assert encode(recordings, images) == 0
    assert names(images) == [
        "a/deep/Übung.flac.0000.png",
        "a/deep/Übung.flac.0001.png",
        "a/deep/Übung.flac.0002.png",
        "a/short.wav.0000.png",
        "b.OGG.0000.png",
    ]
    output = capsys.readouterr()
    assert output.out == f"3 recordings are 5 images in {images}\n"
    assert output.err == ""
    seen = []
    for name in names(images):
        header = read_header(images / name)
        origin = header.origin
        assert origin is not None
        recording = (images / name).parent / origin.recording
        assert recording.resolve() == recordings / name.rsplit(".", 2)[0]
        seen.append((origin.start_second, origin.n_samples, origin.last))
        assert header.settings == SpectrogramSettings(RATE, 256, 64, 256)
    assert seen == [(0, RATE, False), (1, RATE, False), (1.5, RATE, True), (0, 3200, True), (0, RATE, True)]


def test_images_hold_the_sound(recordings: Path, images: Path) -> None:
    assert encode(recordings, images, "--step_seconds", "0.75") == 0
    waveform, _ = soundfile.read(recordings / "five.wav", dtype="float32")
    window = np.hanning(257)[:-1]
    for name in names(images):
        magnitude, header = decode_image(images / name)
        assert header.origin is not None
        piece = waveform[round(header.origin.start_second * RATE) :][:RATE]
        padded = np.pad(piece, 128)
        frames = np.stack([padded[start : start + 256] * window for start in range(0, RATE + 1, 64)], axis=1)
        expected = np.abs(np.fft.rfft(frames, axis=0))
        assert header.level_db == pytest.approx(20 * np.log10(expected.max()), abs=1e-4)
        loud = expected > 1e-4 * expected.max()
        ratio_db = 20 * np.log10(magnitude.numpy()[loud] / expected[loud])
        assert np.abs(ratio_db).max() < 0.01  # half of a step of 120 dB / 65535, and float32


def test_a_single_recording(recordings: Path, images: Path) -> None:
    assert encode(recordings / "five.wav", images) == 0
    assert names(images) == [f"five.wav.000{index}.png" for index in range(5)]


def test_bad_recordings_are_skipped_and_counted(
    recordings: Path,
    images: Path,
    write_bad_recordings: Callable[[Path], dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    messages = write_bad_recordings(recordings)
    assert encode(recordings, images) == 1
    output = capsys.readouterr()
    assert output.out == f"1 recordings are 5 images in {images}\n"
    lines = output.err.splitlines()
    assert lines.pop() == f"{len(messages)} recordings were skipped"
    assert len(lines) == len(messages)
    for line, name in zip(lines, sorted(messages), strict=True):
        assert line.startswith(f"skipped {recordings / name}: ")
        assert messages[name] in line.partition(": ")[2]
    assert names(images) == [f"five.wav.000{index}.png" for index in range(5)]


def test_the_second_run_keeps_everything(recordings: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(recordings / "short.wav", 0.4)
    write(recordings / "even.wav", 3)
    assert encode(recordings, images) == 0
    before = times(images)
    assert len(before) == 9
    capsys.readouterr()
    assert encode(recordings, images) == 0
    assert times(images) == before
    assert capsys.readouterr().out == f"3 recordings are 9 images in {images} (9 were there already)\n"


@pytest.mark.parametrize("index", range(5))
def test_only_what_is_missing_is_written(
    recordings: Path, images: Path, index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    encode(recordings, images)
    before = times(images)
    missing = f"five.wav.000{index}.png"
    (images / missing).unlink()
    capsys.readouterr()
    assert encode(recordings, images) == 0
    assert changed(images, before) == {missing}
    assert "5 images in" in capsys.readouterr().out
    assert len(names(images)) == 5


def test_a_damaged_image_is_written_again(recordings: Path, images: Path) -> None:
    encode(recordings, images)
    before = times(images)
    for index, content in ((1, b""), (3, b"no image")):
        (images / f"five.wav.000{index}.png").write_bytes(content)
    assert encode(recordings, images) == 0
    assert changed(images, before) == {"five.wav.0001.png", "five.wav.0003.png"}
    for name in names(images):
        decode_image(images / name)


def test_a_newer_recording_is_encoded_again(recordings: Path, images: Path) -> None:
    write(recordings / "other.wav", 1)
    encode(recordings, images)
    before = times(images)
    write(recordings / "five.wav", 4.5, seed=1)
    later = time.time_ns() + 10**9
    os.utime(recordings / "five.wav", ns=(later, later))
    assert encode(recordings, images) == 0
    assert changed(images, before) == {f"five.wav.000{index}.png" for index in range(5)}


@pytest.mark.parametrize(
    ("options", "n_images"),
    [
        (["--hop_length", "32"], 5),
        (["--window", "hamming"], 5),
        (["--floor_db", "-90"], 5),
        (["--bits", "8"], 5),
        (["--sample_rate", "4000"], 5),
        (["--window_seconds", "0.9"], 5),
        (["--window_seconds", "2"], 3),
        (["--window_seconds", "30"], 1),
        (["--step_seconds", "0.5"], 8),
        (["--step_seconds", "2"], 3),
    ],
)
def test_other_settings_encode_again(recordings: Path, images: Path, options: list[str], n_images: int) -> None:
    encode(recordings, images)
    before = times(images)
    assert encode(recordings, images, *options) == 0
    assert names(images) == [f"five.wav.000{index}.png" for index in range(n_images)]
    last = read_header(images / f"five.wav.000{n_images - 1}.png").origin
    assert last is not None
    assert last.last
    # A first window of the same length at the same place is the same image.
    assert changed(images, before) >= {f"five.wav.000{index}.png" for index in range(1, n_images)}
    after = times(images)
    assert encode(recordings, images, *options) == 0
    assert times(images) == after


def test_a_run_that_was_killed_before_it_removed_old_images(recordings: Path, images: Path, tmp_path: Path) -> None:
    encode(recordings, images)
    old = {f"five.wav.000{index}.png": (images / f"five.wav.000{index}.png").read_bytes() for index in (3, 4)}
    encode(recordings, images, "--window_seconds", "2")
    assert len(names(images)) == 3
    for name, content in old.items():
        (images / name).write_bytes(content)
    assert encode(recordings, images, "--window_seconds", "2") == 0
    assert names(images) == [f"five.wav.000{index}.png" for index in range(3)]


def test_a_recording_of_the_same_name_elsewhere_is_not_taken_for_this_one(tmp_path: Path, images: Path) -> None:
    for seed, folder in enumerate(("first", "second")):
        write(tmp_path / folder / "sound.wav", 1, seed)
        os.utime(tmp_path / folder / "sound.wav", (0, 0))
        assert encode(tmp_path / folder, images) == 0
    origin = read_header(images / "sound.wav.0000.png").origin
    assert origin is not None
    assert origin.recording == "../second/sound.wav"


def test_a_recording_that_became_damaged_leaves_no_half_of_it(recordings: Path, images: Path) -> None:
    path = write(recordings / "five.flac", 30)
    encode(recordings / "five.flac", images)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.95 * len(content))])
    later = time.time_ns() + 10**9
    os.utime(path, ns=(later, later))
    assert encode(recordings / "five.flac", images) == 1
    assert names(images) == []


def test_what_a_killed_run_left_is_removed(recordings: Path, images: Path) -> None:
    images.mkdir()
    (images / ".five.wav.0000.png.abc.part").write_bytes(b"half")
    assert encode(recordings, images) == 0
    assert names(images) == [f"five.wav.000{index}.png" for index in range(5)]


@pytest.mark.parametrize("options", [["--n_jobs", "1"], ["--n_jobs", "2"]])
def test_a_full_disk_stops_with_a_message(
    recordings: Path,
    images: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for index in range(20):
        write(recordings / f"{index:02d}.wav", 1, index)
    save = Image.Image.save
    n_saved = 0

    def fill(self: Image.Image, part: Path, *args: object, **others: object) -> None:
        nonlocal n_saved
        n_saved += 1
        if n_saved > 7:
            part.write_bytes(b"half of")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, part, *args, **others)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", fill)
        assert encode(recordings, images, *options) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gan encode: {images}")
    assert "cannot be written (No space left on device); what is complete is kept" in error
    assert error.count("\n") == 1
    assert n_saved < 11  # it stopped, and did not try the other recordings
    before = times(images)
    assert len(before) == 7
    assert encode(recordings, images, *options) == 0
    assert set(before) <= set(names(images))
    assert {name: times(images)[name] for name in before} == before
    assert len(names(images)) == 25


def test_a_really_full_disk(recordings: Path, images: Path) -> None:
    for index in range(10):
        write(recordings / f"{index}.wav", 1.5, index)
    # No file may become larger than an image is: the first one fails while others are being made.
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))\n"
    script += "from gan.commands.main import main; sys.exit(main())"
    options = [*SMALL, "--window_seconds", "2"]
    command = [sys.executable, "-c", script, "encode", str(recordings), str(images), *options]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    said = without_progress(finished.stderr)
    assert said.startswith(f"gan encode: {images}")
    assert said.endswith("cannot be written (File too large); what is complete is kept\n")
    assert said.count("\n") == 1
    assert all(name.endswith(".png") for name in names(images))
    assert encode(recordings, images, *options[len(SMALL) :]) == 0
    assert len(names(images)) == 13


def test_stopped_by_hand(
    recordings: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(recordings / "long.wav", 60)
    n_windows = 0

    def interrupt(path: Path, *arguments: object) -> None:
        nonlocal n_windows
        if path.name.startswith("five"):
            raise KeyboardInterrupt
        n_windows += 1
        time.sleep(0.1)

    with monkeypatch.context() as patched:
        patched.setattr(encoder, "encode_image", interrupt)
        assert encode(recordings, images, "--n_jobs", "2") == 130
    assert n_windows < 40  # of 60: the other recording was left where it was
    told = "gan encode: stopped; what is complete is kept, the same command goes on\n"
    assert capsys.readouterr().err == told
    assert encode(recordings, images) == 0
    assert len(names(images)) == 65


def test_a_file_where_the_images_should_go(recordings: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.write_text("a file")
    assert encode(recordings, images) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hop_length", "200"], "hop_length 200 is too long"),
        (["--window_seconds", "0.001"], "shorter than one frame"),
        (["--window_seconds", ".nan"], "both must be finite"),
        (["--step_seconds", ".inf"], "both must be finite"),
        (["--floor_db", "20"], "floor_db is 20"),
    ],
)
def test_settings_that_contradict_each_other(
    recordings: Path, images: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(recordings, images, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not images.exists()


def test_nothing_to_encode(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("none")
    for folder, message in (("gone", "no such file or folder"), ("empty", "no sound files in it; looked for .aif")):
        assert encode(tmp_path / folder, images) == 2
        output = capsys.readouterr()
        assert output.err.startswith(f"gan encode: {tmp_path / folder}: {message}")
        assert output.err.count("\n") == 1
        assert output.out == ""


# Half of the images of the next test are encoded as fast as ever, the others so slowly that a kill cannot be too late.
HALF_SLOWLY = """
import sys, time
from gan.commands.main import main
from gan.sound import encoder
encode_image, quick = encoder.encode_image, iter(range(150))
def slowly(*arguments):
    if next(quick, None) is None:
        time.sleep(1)
    return encode_image(*arguments)
encoder.encode_image = slowly
sys.exit(main())
"""


def test_killed_and_started_again(tmp_path: Path, images: Path) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for index in range(100):
        write(recordings / f"{index:03d}.wav", 1.5 + index % 3, index)
    expected = sorted(f"{index:03d}.wav.000{part}.png" for index in range(100) for part in range(2 + index % 3))
    arguments = ["encode", str(recordings), str(images), *SMALL]
    with subprocess.Popen([sys.executable, "-c", HALF_SLOWLY, *arguments], stderr=subprocess.PIPE) as process:
        while len(list(images.glob("*.png"))) < 50:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = {path.name: path.stat().st_mtime_ns for path in images.glob("*.png")}
    assert 50 <= len(before) < len(expected)
    for name in before:
        decode_image(images / name)  # whole, if it is there
    command = [sys.executable, "-m", "gan", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode, without_progress(finished.stderr)) == (0, "")
    assert (
        f"100 recordings are {len(expected)} images in {images} ({len(before)} were there already)" in finished.stdout
    )
    assert names(images) == expected
    assert not changed(images, {**times(images), **before})
    for name in expected:
        decode_image(images / name)


def test_a_name_that_is_too_long_is_skipped_and_named(
    recordings: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = ["n" * 246, "ü" * 123, "🎵" * 61]  # 246, 246 and 244 bytes, and 13 more of .wav.0000.png
    for name in ("a", *long, "z"):
        write(recordings / f"{name}.wav", 1)
    for _ in range(2):
        assert encode(recordings, images) == 1
        output = capsys.readouterr()
        assert output.out.startswith(f"3 recordings are 7 images in {images}")
        *lines, last = output.err.splitlines()
        assert last == "3 recordings were skipped"
        assert sorted(lines) == [
            f"skipped {recordings / name}.wav: {images / name}.wav.0000.png: cannot be written (File name too long): a "
            f"name of {n_bytes} bytes, 255 is usual; rename it, or name another folder"
            for name, n_bytes in sorted(zip(long, (259, 259, 257), strict=True))
        ]
        assert names(images) == [
            "a.wav.0000.png",
            *(f"five.wav.000{index}.png" for index in range(5)),
            "z.wav.0000.png",
        ]


def test_a_path_that_is_too_long_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = "/".join(["d" * 250] * 15)  # 3764 letters; 4096 may be used
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    sound = write(Path("in") / "a.wav", 1)
    (Path("in") / folders).mkdir(parents=True)
    shutil.copy(sound, Path("in") / folders / "b.wav")
    assert encode(Path("in"), tmp_path / "/".join("e" * 90 for _ in range(4))) == 1
    output = capsys.readouterr()
    assert output.out.startswith("1 recordings are 1 images")
    assert "b.wav.0000.png: cannot be written (File name too long)" in output.err


@pytest.mark.parametrize(
    ("number", "ends"),
    [
        (errno.ENAMETOOLONG, False),
        (errno.EILSEQ, False),
        (errno.EINVAL, False),
        (errno.ENOTDIR, False),
        (errno.EISDIR, False),
        (errno.EACCES, False),
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EROFS, True),
        (errno.EIO, True),
        (errno.EFBIG, True),
        (errno.EMFILE, True),
    ],
)
def test_a_name_that_the_disk_refuses_and_a_disk_that_fails(
    recordings: Path,
    images: Path,
    number: int,
    ends: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(recordings / "a.wav", 1)
    write(recordings / "z.wav", 1)
    encode_image = encoder.encode_image

    def refuse(path: Path, *arguments: object) -> object:
        if path.name == "five.wav.0002.png":
            raise OSError(number, os.strerror(number))
        return encode_image(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "encode_image", refuse)
    assert encode(recordings, images, "--n_jobs", "1") == (2 if ends else 1)
    error = capsys.readouterr().err
    assert f"{images / 'five.wav.0002.png'}: cannot be written ({os.strerror(number)})" in error
    if ends:
        assert "what is complete is kept" in error
    else:
        # Half of a recording is none.
        assert names(images) == ["a.wav.0000.png", "z.wav.0000.png"]


def test_something_else_where_the_images_of_a_recording_should_be(
    recordings: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(recordings / "b" / "c.wav", 1)
    write(recordings / "d.wav", 1)
    images.mkdir()
    (images / "b").write_text("a file")
    (images / "five.wav.0000.png").mkdir()
    assert encode(recordings, images) == 1
    assert names(images) == ["b", "d.wav.0000.png"]
    assert capsys.readouterr().err.endswith("2 recordings were skipped\n")


def test_a_name_that_is_no_text_is_skipped(recordings: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(recordings / "a.wav", 1).rename(recordings / os.fsdecode(b"\xff.wav"))
    assert encode(recordings, images) == 1
    output = capsys.readouterr()
    assert output.out == f"1 recordings are 5 images in {images}\n"
    assert "cannot be written, its name is no text; rename it" in output.err


def test_linked_and_hidden_folders_and_what_is_not_read(
    recordings: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "elsewhere" / "b.wav", 1)
    write(recordings / ".Trash-1000" / "c.wav", 1)
    (recordings / "piano").symlink_to("../elsewhere")
    for name in ("d.m4a", "piano/e.webm", "f.txt"):
        (recordings / name).touch()
    assert encode(recordings, images) == 0
    assert names(images) == [*(f"five.wav.000{index}.png" for index in range(5)), "piano/b.wav.0000.png"]
    origin = read_header(images / "piano" / "b.wav.0000.png").origin
    assert origin is not None
    assert origin.recording == "../../elsewhere/b.wav"
    command = f"ffmpeg -i {recordings / 'd.m4a'} {recordings / 'd.wav'}"
    assert capsys.readouterr().err == f"2 left out: .m4a, .webm; convert them first: {command}\n"


def test_another_channel_is_encoded_again(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    sound = 0.5 * music(RATE, 0, RATE)
    soundfile.write(recordings / "a.wav", np.stack([sound, -sound], 1), RATE, "FLOAT")
    assert encode(recordings, images) == 0
    note = f"{recordings / 'a.wav'}: the mix is 120.0 dB quieter than its 2 channels for 1.0 of 1.0 s"
    assert capsys.readouterr().err.startswith(note)
    assert read_header(images / "a.wav.0000.png").level_db is None
    assert b"channel" not in (images / "a.wav.0000.png").read_bytes()  # earlier versions do not know of it
    levels = []
    for channel in ("left", "right", "2"):
        assert encode(recordings, images, "--channel", channel) == 0
        output = capsys.readouterr()
        assert (output.out, output.err) == (f"1 recordings are 1 images in {images}\n", "")
        header = read_header(images / "a.wav.0000.png")
        assert header.origin is not None
        assert str(header.origin.channel) == channel
        levels.append(header.level_db)
        before = times(images)
        assert encode(recordings, images, "--channel", channel) == 0
        assert times(images) == before
        capsys.readouterr()
    assert levels[0] == levels[1] == levels[2]
    assert encode(recordings, images, "--channel", "3") == 1
    assert "a.wav: channel 3 of 2 is not there" in capsys.readouterr().err
    assert encode(recordings, images, "--channel", "0") == 2
    assert "channel is 0; it must be mix, left, right, or a number from 1 on" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        encode(recordings, images, "--channel", "middle")
    assert capsys.readouterr().err.count("\n") == 1
