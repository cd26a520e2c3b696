"""Small sounds, sound and damaged, for every test that needs files."""

import errno
import itertools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from browser import find_browser
from numpy.typing import NDArray
from sheets import drawn_once

import train
from gan.run import Run, newest_run
from gan.sound.codec import ImageHeader, Origin, encode_image
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

Waveform = NDArray[np.float32]

_PROGRESS_LINE = re.compile(r"[\w -]+: \d+%, \d+ of \d+ \w+, .*\n")
_FLAC_TOTAL_SAMPLES = slice(18, 26)  # "fLaC", block header, 10 bytes of STREAMINFO; the low 36 bits of these 8 bytes


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a browser where there is none."""
    if item.get_closest_marker("browser") and find_browser() is None:
        pytest.skip("no chromium")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the tests that need a browser had one."""
    reports = [each for kind in ("passed", "failed", "skipped") for each in terminalreporter.stats.get(kind, [])]
    skipped = [each.skipped for each in reports if "browser" in each.keywords]
    if any(skipped):
        terminalreporter.write_line(f"browser tests are skipped: no chromium ({sum(skipped)} tests)")
    elif skipped:
        terminalreporter.write_line(f"browser tests ran: {len(skipped)}, in {find_browser()}")


def music(n_samples: int, seed: int = 0, sample_rate: int = 22050) -> Waveform:
    """A falling chord over quiet noise, shape (n_samples,), below full scale."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_samples) / sample_rate
    tones = [np.sin(2 * np.pi * frequency * time) for frequency in rng.uniform(100, 3000, 4)]
    envelope = np.exp(-2 * (time % 0.5))
    return (0.1 * envelope * np.sum(tones, axis=0) + 0.01 * rng.standard_normal(n_samples)).astype(np.float32)


def full_at(n_call: int, write: Callable[..., int]) -> Callable[..., int]:
    """What writes to a disk that has no room for one of the calls."""
    calls = itertools.count(1)

    def full(*arguments: object) -> int:
        if next(calls) == n_call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    return full


def with_flac_length(flac: bytes, n_samples: int) -> bytes:
    """A FLAC file whose header claims another length; 0 is "unknown"."""
    changed = bytearray(flac)
    fields = int.from_bytes(flac[_FLAC_TOTAL_SAMPLES], "big")
    changed[_FLAC_TOTAL_SAMPLES] = (fields >> 36 << 36 | n_samples).to_bytes(8, "big")
    return bytes(changed)


def without_progress(said: str) -> str:
    """What a program said on stderr, without the lines of long work, which work of any length has on a busy machine."""
    return _PROGRESS_LINE.sub("", said)


@pytest.fixture(autouse=True)
def no_work_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lines of long work, however busy the machine; `test_progress.py` has a clock of its own."""
    monkeypatch.setattr("gan.progress._QUIET_SECONDS", math.inf)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """On a test's small tensors a second thread costs more than it saves, ten times so on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def sheets_are_drawn_once() -> Iterator[None]:
    """Axes are half of a training of seconds; `test_board.py` draws its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan.listen.callbacks.Sheet", drawn_once)
        yield


@pytest.fixture
def sound() -> Callable[..., Waveform]:
    """`music(n_samples, seed=0, sample_rate=22050)`."""
    return music


@pytest.fixture
def write_bad_recordings() -> Callable[[Path], dict[str, str]]:
    """Writes one file of every damage to a folder and says, by file name, what its message must contain."""
    return _write_bad_recordings


def _write_bad_recordings(folder: Path) -> dict[str, str]:
    waveform = music(30000)
    messages = {}

    def add(name: str, content: bytes, message: str) -> None:
        (folder / name).write_bytes(content)
        messages[name] = message

    add("text.wav", b"Dear diary, this is not a sound.\n" * 20, "cannot be read as sound")
    add("empty.wav", b"", "the file is empty")
    for name, wrong in (("nan.wav", np.nan), ("inf.wav", -np.inf)):
        damaged = waveform.copy()
        damaged[20000] = wrong
        soundfile.write(folder / name, damaged, 22050, "FLOAT")
        messages[name] = "not numbers"
    soundfile.write(folder / "no_samples.wav", waveform[:0], 22050)
    messages["no_samples.wav"] = "no samples"
    for suffix in ("wav", "flac", "ogg", "mp3", "aiff", "w64", "caf", "au"):
        whole = folder / f"whole.{suffix}"
        soundfile.write(whole, waveform, 22050)
        content = whole.read_bytes()
        whole.unlink()
        # A CAF file that lacks more is not recognised at all.
        for part in (0.99,) if suffix == "caf" else (0.6, 0.9):
            add(f"cut_{part}.{suffix}", content[: int(part * len(content))], "truncated")
        if suffix == "flac":
            add("claims_2_to_36.flac", with_flac_length(content, 2**36 - 1), "truncated: 30000 of 68719476735 samples")
    return messages


# Options of a training of seconds on images of `write_image`.
SMALL_RUN = [
    "--data.n_frames=64",
    "--data.batch_size=4",
    "--model.generator.init_args.base_channels=4",
    "--model.discriminator.init_args.base_channels=4",
    "--trainer.log_every_n_steps=2",
    "--trainer.accelerator=cpu",
]
SMALL = SpectrogramSettings(sample_rate=8000, n_fft=128, hop_length=32, win_length=128)


@pytest.fixture(scope="session")
def write_image() -> Callable[..., ImageHeader]:
    """`write_image(path, n_frames=64, seed=0, level=1.0, recording=None)`: an image of 65 x n_frames at 8 kHz."""
    return _write_image


def _write_image(
    path: Path, n_frames: int = 64, seed: int = 0, level: float = 1.0, recording: str | None = None
) -> ImageHeader:
    n_samples = (n_frames - 1) * SMALL.hop_length
    waveform = torch.from_numpy(level * music(n_samples, seed, SMALL.sample_rate))
    origin = Origin(recording or f"{path.stem}.wav", 0.0, n_samples, last=True)
    return encode_image(path, magnitude_from_waveform(waveform, SMALL), SMALL, origin)


@pytest.fixture
def encode_noise() -> Callable[..., None]:
    """`encode_noise(folder, sample_rate, n_fft, hop_length, seconds, n_files)`: images of decaying noise."""
    return _encode_noise


def _encode_noise(folder: Path, sample_rate: int, n_fft: int, hop_length: int, seconds: float, n_files: int) -> None:
    settings = SpectrogramSettings(sample_rate, n_fft, hop_length, n_fft)
    n_samples = round(seconds * sample_rate)
    for index in range(n_files):
        noise = torch.randn(n_samples, generator=torch.Generator().manual_seed(index))
        waveform = 0.2 * noise * torch.exp(-3 * torch.arange(n_samples) / n_samples)
        origin = Origin(f"{index}.wav", 0.0, n_samples, last=True)
        encode_image(folder / f"{index}.png", magnitude_from_waveform(waveform, settings), settings, origin)


@pytest.fixture(scope="session")
def folder_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of 12 recordings of two classes, where small runs are kept."""
    folder = tmp_path_factory.mktemp("runs")
    for index in range(12):
        _write_image(folder / "images" / ("bell", "low drum")[index % 2] / f"{index:02d}.png", n_frames=64, seed=index)
    return folder


def _small_run(root: Path, *arguments: str) -> Run:
    if not root.exists():
        options = ["--data.images=images", "--listen.n_samples=1", "--listen.n_references=1"]
        options += [f"--trainer.default_root_dir={root}", "--trainer.max_epochs=2"]
        assert train.run_training(train.GANCLI, [*SMALL_RUN, *options, *arguments]) == 0
        # Two that begin in the same second would have the same name.
        newest_run(root).folder.rename(root / f"{root.name}_run")
    return newest_run(root)


@pytest.fixture
def in_folder_of_runs(folder_of_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, as the working folder."""
    monkeypatch.chdir(folder_of_runs)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    return folder_of_runs


@pytest.fixture
def endless(in_folder_of_runs: Path) -> Run:
    """A run of a generator without beginning and end."""
    return _small_run(Path("endless"), "--model.generator=gan.model.endless.Generator")


@pytest.fixture
def conditional(in_folder_of_runs: Path) -> Run:
    """A run that was told the labels, bell and low drum."""
    return _small_run(Path("conditional"), "--data.labels=folder", "--data.conditional=true")
