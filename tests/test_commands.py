"""`gan VERB` on the command line; `gan encode` has its own file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from conftest import music

from gan.commands.main import VERBS, main
from gan.files import atomic_write
from gan.sound.codec import Origin, encode_image
from gan.sound.spectrogram import SpectrogramSettings, magnitude_from_waveform

RATE = 8000
GRID = SpectrogramSettings(RATE, 512, 128, 512)

Sound = Callable[..., np.ndarray]


def image_of(path: Path, waveform: np.ndarray) -> Path:
    """Write the image of a waveform; full scale may be exceeded."""
    magnitude = magnitude_from_waveform(torch.from_numpy(waveform), GRID)
    encode_image(path, magnitude, GRID, Origin("sound.wav", 0.0, len(waveform), True))
    return path


def decode(*arguments: str | Path, n_iter: int = 4) -> int:
    return main(["decode", *map(str, arguments), "--n_iter", str(n_iter)])


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
        scaled_db = float(
            told[subtype].partition(", scaled down by ")[2].removesuffix(" dB so that it does not clip\n")
        )
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
        assert decode(image, "-o", tmp_path / f"{seed}.wav", "--seed", str(seed)) == 0
    assert (tmp_path / "0.wav").read_bytes() != (tmp_path / "1.wav").read_bytes()


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
    assert text.startswith(f"skipped {tmp_path / 'text.png'}: not a PNG image")
    assert count == "2 of 3 images were skipped"


def test_decode_refuses_what_it_cannot_do(tmp_path: Path, sound: Sound, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = image_of(tmp_path / "one.png", sound(4000)), image_of(tmp_path / "two.png", sound(4000))
    (tmp_path / "other").mkdir()
    same = image_of(tmp_path / "other" / "one.png", sound(4000))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a file")
    for arguments, message in (
        ([tmp_path / "gone.png"], "gone.png: no such file or folder; give an image"),
        ([tmp_path / "gone.png", "-o", tmp_path / "out.wav"], "gone.png: no such file"),
        ([tmp_path / "empty"], "empty: no images (*.png) in it; make some with `gan encode`"),
        ([one, two, "-o", tmp_path / "out.wav"], "out.wav is one file, but there are several images"),
        ([tmp_path / "other", "-o", tmp_path / "out.wav"], "out.wav is one file, but there are several images"),
        ([one, same, "-o", tmp_path / "out"], "several images would become the same file"),
        ([one, "-o", tmp_path / "file"], "one.wav: cannot be written"),
        ([one, "--n_iter", "-2"], "n_iter is -2; it must be 0 or more"),
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

    def full(path: Path, *others: object, **more: object) -> None:
        nonlocal n_calls
        n_calls += 1
        path.write_bytes(b"half of")
        raise soundfile.LibsndfileError(2)  # "System error."

    monkeypatch.setattr(soundfile, "write", full)
    assert decode(tmp_path) == 2
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


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_unknown_options(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [verb, str(tmp_path), str(tmp_path), "--loudness", "11"],
        [verb],
        [verb, str(tmp_path), str(tmp_path), "--sed=3"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"usage: gan {verb}")
        assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [[], ["sing"], ["--loud", "encode"]])
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
    for option in {"encode": ("recordings", "--hop_length", "--bits"), "decode": ("IMAGE", "--output", "--seed")}[verb]:
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
    missing = run("decode", tmp_path / "gone")
    assert missing.returncode == 2
    assert missing.stdout == ""
    assert missing.stderr == (
        f"gan decode: {tmp_path / 'gone'}: no such file or folder; give an image or a folder of images\n"
    )
