"""Griffin-Lim side by side: gan's and librosa's, 32 iterations at momentum 0.99, 2048/512 at 22,050 Hz.

    python benchmarks/phase.py RECORDING... [--seconds 60] [--rounds 5] [--threads 1]

The two take turns in one process, so that a busy machine slows both. librosa transforms with one thread, whatever it is
given; one thread for both is the even match. Spectral convergence is measured by librosa.stft for both; the lower the
nearer.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.settings import SpectrogramSettings

Waveform = NDArray[np.float32]

SETTINGS = SpectrogramSettings()
N_ITER = 32
MOMENTUM = 0.99


def synthesise(seconds: float) -> Waveform:
    """Plucked harmonic notes over quiet noise, for when no recording is given."""
    rng = np.random.default_rng(0)
    waveform = 0.003 * rng.standard_normal(round(seconds * SETTINGS.sample_rate))
    note_time = np.arange(SETTINGS.sample_rate // 2) / SETTINGS.sample_rate
    for start in range(0, len(waveform) - len(note_time), len(note_time) // 2):
        pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
        partials = [np.sin(2 * np.pi * pitch * k * note_time) / k for k in range(1, 9)]
        waveform[start : start + len(note_time)] += 0.1 * np.exp(-6 * note_time) * np.sum(partials, axis=0)
    return waveform.astype(np.float32)


def ours(magnitude: Waveform, n_samples: int, seed: int) -> Waveform:
    return GriffinLim(SETTINGS, N_ITER, MOMENTUM, seed)(torch.from_numpy(magnitude), n_samples).numpy()


def librosas(magnitude: Waveform, n_samples: int, seed: int) -> Waveform:
    return librosa.griffinlim(
        magnitude,
        n_iter=N_ITER,
        momentum=MOMENTUM,
        n_fft=SETTINGS.n_fft,
        hop_length=SETTINGS.hop_length,
        length=n_samples,
        random_state=seed,
    )


def magnitude_of(waveform: Waveform) -> Waveform:
    return np.abs(librosa.stft(waveform, n_fft=SETTINGS.n_fft, hop_length=SETTINGS.hop_length))


def convergence_db(waveform: Waveform, magnitude: Waveform) -> float:
    return float(20 * np.log10(np.linalg.norm(magnitude_of(waveform) - magnitude) / np.linalg.norm(magnitude)))


def compare(name: str, waveform: Waveform, rounds: int) -> str:
    """One row of the table."""
    magnitude = magnitude_of(waveform)
    contenders: tuple[Callable[..., Waveform], ...] = (ours, librosas)
    seconds: dict[Callable[..., Waveform], list[float]] = {contender: [] for contender in contenders}
    levels: dict[Callable[..., Waveform], list[float]] = {contender: [] for contender in contenders}
    for contender in contenders:
        contender(magnitude[:, :100], 99 * SETTINGS.hop_length, 0)  # imports, compilation, plans
    for seed in range(rounds):
        for contender in contenders if seed % 2 == 0 else reversed(contenders):
            start = time.perf_counter()
            result = contender(magnitude, len(waveform), seed)
            seconds[contender].append(time.perf_counter() - start)
            levels[contender].append(convergence_db(result, magnitude))
    ours_s, librosa_s = (statistics.median(seconds[contender]) for contender in contenders)
    ours_db, librosa_db = (statistics.median(levels[contender]) for contender in contenders)
    return (
        f"| {name} | {len(waveform) / SETTINGS.sample_rate:.1f} | {ours_s:.2f} | {librosa_s:.2f} "
        f"| {librosa_s / ours_s:.1f} | {ours_db:.1f} | {librosa_db:.1f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "recordings", nargs="*", type=Path, metavar="RECORDING", help="sound files; one is made if none"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how much of each, from its start")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; medians are printed")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    print(
        f"torch {torch.__version__}, librosa {librosa.__version__}, numpy {np.__version__}, {given.threads} threads\n"
    )
    print("| recording | seconds | gan, s | librosa, s | times faster | gan, dB | librosa, dB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for path in given.recordings:
        waveform, _ = librosa.load(path, sr=SETTINGS.sample_rate, duration=given.seconds)
        print(compare(path.name, waveform, given.rounds), flush=True)
    if not given.recordings:
        print(compare("synthesised", synthesise(given.seconds), given.rounds), flush=True)


if __name__ == "__main__":
    main()
