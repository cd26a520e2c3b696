"""`gan VERB` on the command line; `gan encode` has its own file."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import librosa
import numpy as np
import pytest
import soundfile
import torch
from conftest import music
from PIL import Image

from gan.commands.main import VERBS, main
from gan.errors import InputError
from gan.files import atomic_write, refuse_unwritable, remove_parts_of
from gan.sound.codec import Origin, encode_image
from gan.sound.figure.options import FigureOptions
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.picture import read_picture
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude, magnitude_from_waveform

RATE = 8000
GRID = SpectrogramSettings(RATE, 512, 128, 512)

Sound = Callable[..., np.ndarray]


def image_of(path: Path, waveform: np.ndarray) -> Path:
    """Write the image of a waveform; full scale may be exceeded."""
    magnitude = magnitude_from_waveform(torch.from_numpy(waveform), GRID)
    encode_image(path, magnitude, GRID, Origin("sound.wav", 0.0, len(waveform), True))
    return path


def decode(*arguments: str | Path | int, n_iter: int = 4) -> int:
    return main(["decode", *map(str, arguments), "--phase.n_iter", str(n_iter)])


def rms_db(waveform: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gan", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("gain", [1.0, 1e-3])
def test_a_round_trip_keeps_level_and_length(tmp_path: Path, sound: Sound, subtype: str, gain: float) -> None:
    waveform = gain * sound(13000, sample_rate=RATE)
    soundfile.write(tmp_path / "sound.wav", waveform, RATE, "FLOAT")
    assert main(["encode", str(tmp_path / "sound.wav"), str(tmp_path / "images"), "--sample_rate", str(RATE)]) == 0
    image = tmp_path / "images" / "sound.wav.0000.png"
    assert decode(image, "-o", tmp_path / "back.wav", "--subtype", subtype, n_iter=32) == 0
    with soundfile.SoundFile(tmp_path / "back.wav") as file:
        assert (file.samplerate, file.channels, file.format, file.subtype) == (RATE, 1, "WAV", subtype)
        back = file.read()
    assert len(back) == len(waveform)
    assert abs(rms_db(back) - rms_db(waveform)) < 0.5
    wanted, reached = (np.abs(librosa.stft(sounding.astype(np.float32))) for sounding in (waveform, back))
    error_db = 20 * np.log10(np.linalg.norm(reached - wanted) / np.linalg.norm(wanted))
    assert error_db < (-15 if gain == 1 or subtype != "PCM_16" else -10)  # 16 bits are coarse at -60 dB


def test_what_is_printed(tmp_path: Path, sound: Sound, capsys: pytest.CaptureFixture[str]) -> None:
    image = image_of(tmp_path / "a.png", sound(12000))
    silent = image_of(tmp_path / "b.png", np.zeros(4000, np.float32))
    assert decode(image, silent, n_iter=32) == 0
    output = capsys.readouterr()
    assert output.err == ""
    first, second = output.out.splitlines()
    waveform, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(12000)), GRID)
    reached = magnitude_from_waveform(torch.from_numpy(waveform), GRID)
    error_db = 20 * torch.log10(torch.linalg.norm(reached - magnitude) / torch.linalg.norm(magnitude))
    peak_db = 20 * np.log10(np.abs(waveform).max())
    text, _, numbers = first.partition(", peak ")
    assert text == f"{tmp_path / 'a.wav'}: 1.50 s"
    assert numbers.endswith(" dB")
    peak, _, convergence = numbers.removesuffix(" dB").partition(" dBFS, spectral convergence ")
    assert float(peak) == pytest.approx(peak_db, abs=0.06)
    assert float(convergence) == pytest.approx(float(error_db), abs=0.1)
    assert second == f"{tmp_path / 'b.wav'}: 0.50 s, silence"
    assert not soundfile.read(tmp_path / "b.wav")[0].any()


@pytest.mark.parametrize("gain", [2.8, 20.0])
def test_nothing_clips(tmp_path: Path, sound: Sound, gain: float, capsys: pytest.CaptureFixture[str]) -> None:
    image = image_of(tmp_path / "loud.png", gain * sound(12000))
    sounds, told = {}, {}
    for subtype in ("FLOAT", "PCM_16", "PCM_24"):
        assert decode(image, "-o", tmp_path / f"{subtype}.wav", "--subtype", subtype) == 0
        sounds[subtype] = soundfile.read(tmp_path / f"{subtype}.wav")[0]
        told[subtype] = capsys.readouterr().out
    peak = np.abs(sounds["FLOAT"]).max()
    assert peak > 1
    assert "scaled" not in told["FLOAT"]
    for subtype in ("PCM_16", "PCM_24"):
        scaled_db = float(told[subtype].partition(", scaled down by ")[2].partition(" dB so that it does not clip")[0])
        assert scaled_db == pytest.approx(20 * np.log10(peak / 0.999), abs=0.06)
        # The same sound, only softer, and no sample cut off.
        np.testing.assert_allclose(sounds[subtype], sounds["FLOAT"] * 0.999 / peak, atol=2**-15)


def test_where_the_files_go(tmp_path: Path, sound: Sound) -> None:
    images = tmp_path / "images"
    (images / "a" / "b").mkdir(parents=True)
    for name in ("one.wav.0000.png", "a/two.png", "a/b/ü.flac.0001.png", "a/.hidden.png"):
        image_of(images / name, sound(2000))
    (images / "notes.txt").write_text("no image")
    wanted = ["a/b/ü.flac.0001.wav", "a/two.wav", "one.wav.0000.wav"]

    assert decode(images, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == wanted
    assert decode(images / "a" / "two.png", "--output", tmp_path / "new" / "name.wav") == 0
    assert decode(images / "a" / "two.png", images / "one.wav.0000.png", "-o", tmp_path / "both") == 0
    assert names(tmp_path / "new") == ["name.wav"]
    assert names(tmp_path / "both") == ["one.wav.0000.wav", "two.wav"]
    assert decode(images) == 0
    assert [name for name in names(images) if name.endswith(".wav")] == wanted
    beside, elsewhere = (path.read_bytes() for path in (images / "a" / "two.wav", tmp_path / "new" / "name.wav"))
    assert beside == elsewhere  # the same seed


def test_the_seed_is_used(tmp_path: Path, sound: Sound) -> None:
    image = image_of(tmp_path / "a.png", sound(4000))
    for seed in (0, 1):
        options = ("--phase", "GriffinLim", "--phase.seed", str(seed))
        assert decode(image, "-o", tmp_path / f"{seed}.wav", *options) == 0
    assert (tmp_path / "0.wav").read_bytes() != (tmp_path / "1.wav").read_bytes()


@pytest.mark.parametrize("named", [["--phase", "GriffinLim"], ["--phase=gan.sound.phase.griffin_lim.GriffinLim"]])
def test_a_phase_method_has_its_own_defaults(tmp_path: Path, sound: Sound, named: list[str]) -> None:
    image = image_of(tmp_path / "a.png", sound(8000))
    assert main(["decode", str(image), "-o", str(tmp_path / "named.wav"), *named, "--subtype", "FLOAT"]) == 0
    picture = read_picture(image, FigureOptions())
    expected = GriffinLim(picture.settings)(picture.magnitude, picture.n_samples)
    np.testing.assert_allclose(soundfile.read(tmp_path / "named.wav")[0], expected.numpy(), atol=1e-6)
    # Without a name it is the network's, and options are added to its own.
    for options, n_iter in (([], 8), (["--phase.n_iter", "2"], 2)):
        assert main(["decode", str(image), "-o", str(tmp_path / "own.wav"), *options, "--subtype", "FLOAT"]) == 0
        expected = DeepGriffinLim(picture.settings, n_iter)(picture.magnitude, picture.n_samples)
        np.testing.assert_allclose(soundfile.read(tmp_path / "own.wav")[0], expected.numpy(), atol=1e-6)


def test_damaged_images_are_skipped(tmp_path: Path, sound: Sound, capsys: pytest.CaptureFixture[str]) -> None:
    content = image_of(tmp_path / "good.png", sound(4000)).read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no image")
    assert decode(tmp_path, "-o", tmp_path / "out") == 1
    assert names(tmp_path / "out") == ["good.wav"]
    output = capsys.readouterr()
    assert output.out.startswith(f"{tmp_path / 'out' / 'good.wav'}: 0.50 s")
    cut, text, count = output.err.splitlines()
    assert cut.startswith(f"skipped {tmp_path / 'cut.png'}: the image is damaged")
    assert text.startswith(f"skipped {tmp_path / 'text.png'}: not a picture")
    assert count == "2 of 3 pictures were skipped"


def test_decode_refuses_what_it_cannot_do(tmp_path: Path, sound: Sound, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = image_of(tmp_path / "one.png", sound(4000)), image_of(tmp_path / "two.png", sound(4000))
    (tmp_path / "other").mkdir()
    same = image_of(tmp_path / "other" / "one.png", sound(4000))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a file")
    for arguments, message in (
        ([tmp_path / "gone.png"], "gone.png: no such file or folder; give a picture"),
        ([tmp_path / "gone.png", "-o", tmp_path / "out.wav"], "gone.png: no such file"),
        ([tmp_path / "empty"], "empty: no pictures (.bmp, .gif, .jpeg, .jpg, .npy, .png, .tif, .tiff, .webp) in it"),
        ([one, two, "-o", tmp_path / "out.wav"], "out.wav is one file, but there are several pictures"),
        ([tmp_path / "other", "-o", tmp_path / "out.wav"], "out.wav is one file, but there are several pictures"),
        ([one, same, "-o", tmp_path / "out"], "one.png would both become"),
        ([one, "-o", tmp_path / "file"], "file: cannot be written"),
        ([one, "--phase.n_iter", "-2"], "n_iter is -2; it must be 0 or more"),
    ):
        assert main(["decode", *map(str, arguments)]) == 2
        output = capsys.readouterr()
        assert output.err.startswith("gan decode: ")
        assert message in output.err
        assert output.err.count("\n") == 1
        assert output.out == ""
    assert [name for name in names(tmp_path) if not name.endswith(".png")] == ["file"]


def test_a_full_disk_stops_decoding(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        image_of(tmp_path / name, sound(4000))
    (tmp_path / "a.wav").write_bytes(b"the old one")
    n_calls = 0
    write = soundfile.SoundFile.write

    def full(self: soundfile.SoundFile, samples: np.ndarray) -> None:
        nonlocal n_calls
        n_calls += 1
        write(self, samples[: len(samples) // 2])
        raise soundfile.LibsndfileError(2)  # "System error."

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    assert decode(tmp_path, "--overwrite") == 2
    assert "a.wav: cannot be written" in capsys.readouterr().err
    assert n_calls == 1
    assert names(tmp_path) == ["a.png", "a.wav", "b.png"]
    assert (tmp_path / "a.wav").read_bytes() == b"the old one"


def test_atomic_write_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("usual")
    with atomic_write(tmp_path / "deep" / "er" / "ours") as part:
        part.write_text("ours")
    assert (tmp_path / "deep/er/ours").read_text() == "ours"
    assert (tmp_path / "deep/er/ours").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert names(tmp_path) == ["deep/er/ours", "usual"]


def test_atomic_write_leaves_the_mask_of_permissions_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is the whole process': another thread would write files that anybody may change.
    masks: list[int] = []
    monkeypatch.setattr(os, "umask", lambda mask: masks.append(mask) or 0o022)
    with atomic_write(tmp_path / "ours"):
        pass
    assert masks == []


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "a" + "𝄞" * 63], ids=["of 1 byte", "of 2", "of 4"])
def test_atomic_write_of_the_longest_names(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as part:
        part.write_text("ours")
        assert part.parent == tmp_path
        assert part.name.startswith(f".{name[:50]}")
        assert part.name.endswith(".part")
    assert (tmp_path / name).read_text() == "ours"
    assert names(tmp_path) == [name]


def test_what_a_kill_left_of_a_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = [".b.0.part", ".song[1].wav.part2", ".song1.0.part", "deep/.song[1].0.part", "song[1].part"]
    for other in others:
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).touch()
    (tmp_path / ".song[1].0123456789abcdef.part").touch()
    remove_parts_of(tmp_path / "song[1]")
    assert names(tmp_path) == sorted(others)


def test_where_nothing_can_be_written_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("a file")
    for folder in (tmp_path, tmp_path / "new", tmp_path / "new" / "deep"):
        refuse_unwritable(folder)
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(
            InputError, match=f"^{folder}: cannot be written, {tmp_path}/file is a file; name a folder$"
        ):
            refuse_unwritable(folder)
    # Who is root may do everything.
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError, match=f"new: cannot be written, {tmp_path} may not be written to; name another"):
        refuse_unwritable(tmp_path / "new")
    assert names(tmp_path) == ["file"]


def test_what_the_system_refuses_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, said in (
        (OSError(errno.ENOSPC, "No space left on device"), "gan info: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "some/file"), "gan info: some/file: Permission denied\n"),
    ):
        monkeypatch.setattr("gan.commands.info.main", Mock(side_effect=error))
        assert main(["info", "x"]) == 2
        assert capsys.readouterr().err == said
    # A library's own, which nobody expects.
    monkeypatch.setattr("gan.commands.info.main", Mock(side_effect=OSError("broken data stream")))
    with pytest.raises(OSError, match="broken data stream"):
        main(["info", "x"])


@pytest.mark.parametrize("verb", ["encode", "decode", "ingest", "listen", "blind", "export", "invert"])
def test_unknown_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, verb, "a", "b", "--loudness", "11").endswith("unrecognized arguments: --loudness 11")


def test_options_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "encode") == "the following arguments are required: recordings, images"
    assert "n_fft" in refused(capsys, "encode", "a", "b", "--n_fft", "null")
    error = refused(capsys, "decode", "a", "--phase.n_iter", "many")
    assert error.startswith('Parser key "phase": ')
    assert "\"n_iter\": Expected a <class 'int'>. Got value: many" in error


def refused(capsys: pytest.CaptureFixture[str], verb: str, *arguments: str) -> str:
    """What is said of arguments, in a line."""
    with pytest.raises(SystemExit) as caught:
        main([verb, *arguments])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    before, behind = f"gan {verb}: ", f"; `gan {verb} --help` lists the options\n"
    assert said.startswith(before)
    assert said.endswith(behind)
    assert said.count("\n") == 1
    return said.removeprefix(before).removesuffix(behind)


@pytest.mark.parametrize("arguments", [[], ["sing"], ["--loud", "sing"]])
def test_unknown_verbs(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: gan")


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_help_of_a_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: gan {verb}")
    options = {
        "encode": ("recordings", "--hop_length", "--bits"),
        "decode": ("PICTURE", "--output", "--phase", "--n_fft", "--reference"),
    }
    for option in options[verb]:
        assert option in text


def test_help_is_quick() -> None:
    script = (
        "import sys; from gan.commands.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'librosa', 'numpy', 'soundfile', 'jsonargparse'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    for verb, text in VERBS.items():
        assert verb in finished.stdout
        assert text in finished.stdout


def test_as_a_program(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound.wav", music(8000), RATE)
    finished = run("encode", tmp_path / "sound.wav", tmp_path / "images", "--bits=8", "--n_fft", "512")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == f"1 recordings are 1 images in {tmp_path / 'images'}\n"
    missing = run("info", tmp_path / "gone")
    assert missing.returncode == 2
    assert missing.stdout == ""
    assert missing.stderr.startswith(f"gan info: {tmp_path / 'gone'}: no such file or folder")
    assert missing.stderr.count("\n") == 1


@pytest.fixture
def figures(tmp_path: Path, sound: Sound) -> Path:
    """Two windows of a recording as the user's recipe draws them, smaller, and the recording."""
    from matplotlib import pyplot as plt

    recording = sound(RATE * 4)
    soundfile.write(tmp_path / "song.wav", recording, RATE, "FLOAT")
    (tmp_path / "figures").mkdir()
    for end in (2, 4):
        part = torch.from_numpy(recording[(end - 2) * RATE : end * RATE])
        level_db = db_from_magnitude(magnitude_from_waveform(part, GRID))
        figure = plt.figure(figsize=(8, 8), dpi=100, frameon=False)
        axes = figure.add_axes((0, 0, 1, 1), frameon=False)
        axes.axis("off")
        axes.pcolormesh(level_db.numpy(), cmap="gray")
        figure.savefig(tmp_path / "figures" / f"song.wav{end}.png")
        plt.close(figure)
    return tmp_path / "figures"


def test_figures_become_sound(figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decode(figures, "-o", tmp_path / "out", "--sample_rate", RATE, "--report") == 0
    told = capsys.readouterr().out
    # Both show the same things: the table is printed once, and says what no picture shows.
    assert told.count("found ") == 1
    assert "n_fft        512      " in told
    assert "no picture shows it; --sample_rate" in told
    assert told.count("peak set to -1 dBFS because the picture does not show the level") == 2
    assert names(tmp_path / "out") == [f"song.wav{end}{kind}" for end in (2, 4) for kind in (".report.png", ".wav")]
    for end in (2, 4):
        waveform, rate = soundfile.read(tmp_path / "out" / f"song.wav{end}.wav")
        assert rate == RATE
        assert len(waveform) == 2 * RATE // 128 * 128
        assert 20 * np.log10(np.abs(waveform).max()) == pytest.approx(-1, abs=0.01)
        with Image.open(tmp_path / "out" / f"song.wav{end}.report.png") as page:
            assert page.size == (1600, 1000)
    # Its own reports are no pictures to decode.
    assert decode(figures, "--sample_rate", RATE, "--report") == 0
    assert decode(figures, "--sample_rate", RATE) == 0


def test_what_was_lost(figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("-o", tmp_path / "out", "--sample_rate", RATE)
    assert decode(figures / "song.wav4.png", *options, "--reference", tmp_path / "song.wav", n_iter=100) == 0
    lines = capsys.readouterr().out.splitlines()[-5:]
    numbers = [float(re.findall(r"[-+]?[0-9]+(?:\.[0-9]+)?", line)[0]) for line in lines]
    start, picture_db, phase_db, level_db, _ = numbers
    assert [line.split()[0] for line in lines] == ["start", "picture", "phase", "level", "in"]
    # To the sample; 80 dB in 256 steps are 0.09 dB rms, less what lies at the floor.
    assert start == pytest.approx(2.0, abs=1 / RATE)
    assert 0.03 < picture_db < 0.1
    assert phase_db < -20
    # The level of the file, which has nothing to do with the recording's.
    made, _ = soundfile.read(tmp_path / "out" / "song.wav4.wav")
    original, _ = soundfile.read(tmp_path / "song.wav", start=2 * RATE)
    assert level_db == pytest.approx(20 * np.log10(made.std() / original[: len(made)].std()), abs=0.2)


def test_another_recording_is_no_reference(
    figures: Path, tmp_path: Path, sound: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.wav"
    soundfile.write(other, sound(RATE * 3, seed=5), RATE)
    own = image_of(tmp_path / "own.png", sound(RATE * 2))
    for picture in (figures / "song.wav2.png", own):
        options = ("-o", tmp_path / f"{picture.stem}.wav", "--sample_rate", RATE, "--reference", other)
        assert decode(picture, *options) == 1
        assert f"not compared: {other}: " in capsys.readouterr().err
        # The sound is there all the same.
        assert (tmp_path / f"{picture.stem}.wav").exists()


def test_the_channel_of_a_picture_is_compared_with(
    tmp_path: Path, sound: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    original = tmp_path / "a.wav"
    waveform = 0.3 * sound(RATE * 2)
    soundfile.write(original, np.stack([waveform, -waveform], 1), RATE, "FLOAT")
    options = ["--channel", "right", "--sample_rate", str(RATE), "--n_fft", "256"]
    assert main(["encode", str(original), str(tmp_path), *options]) == 0
    picture = tmp_path / "a.wav.0000.png"
    assert decode(picture, "--reference", original) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "start     0.0000 s into the recording\npicture   0.0" in output.out
    assert decode(picture, "--reference", original, "--channel", "mix") == 1
    assert f"{original}: the mix is 120.0 dB quieter than its 2 channels" in capsys.readouterr().err
