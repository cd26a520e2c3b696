"""Phase reconstruction side by side: gan's methods, librosa's Griffin-Lim and a plain torch loop.

    python benchmarks/phase.py RECORDING... [--seconds 60] [--rounds 3] [--threads 2] [--device cpu] [--run RUN]

2048/512 at 22,050 Hz. All take turns in one process, so that a busy machine slows all of them; medians are printed.
librosa transforms with one thread, whatever it is given. "in librosa's time" is with as many iterations as fit into
what librosa takes. `PGHI + N` and `deep + N` start from the two and go on with the same N iterations.

- dB: spectral convergence by librosa.stft; the lower the nearer.
- LSD: log-spectral distance in dB to the recording itself at a window of 512 samples, over 60 dB; another window than
  the magnitude's sees whether the phase is right.
- MB: most memory that a process of its own took beside what it had before, the result among it (Linux).

With --device, how many seconds of sound each method makes a second; with --run, how near each comes to 64 samples of a
training's newest checkpoint, which are no sound's magnitudes and so can't be met.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import librosa
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.run import Run
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.phase.pghi import PGHI, PGHIGriffinLim
from gan.sound.phase.reconstructor import PhaseReconstructor
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_image, magnitude_from_db
from gan.trained import load_run

Waveform = NDArray[np.float32]
Method = Callable[[Waveform, int, int], Waveform]

SETTINGS = SpectrogramSettings()
N_ITER = 32
MOMENTUM = 0.99
COUNTS = (0, 1, 5, 10, 30)
WARM_UP_FRAMES = 100


@dataclass
class Contender:
    """A method and what was measured of it."""

    name: str
    method: Method
    seconds: list[float] = field(default_factory=list)
    convergence_db: list[float] = field(default_factory=list)
    distance_db: float = 0.0


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


def ours(make: Callable[[int], PhaseReconstructor]) -> Method:
    return lambda magnitude, n_samples, seed: make(seed)(torch.from_numpy(magnitude), n_samples).numpy()


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


def plain_torch(magnitude: Waveform, n_samples: int, seed: int) -> Waveform:
    """As torchaudio.functional.griffinlim goes about it: torch.istft, torch.stft, and complex arithmetic between."""
    grid = {"n_fft": SETTINGS.n_fft, "hop_length": SETTINGS.hop_length, "window": torch.hann_window(SETTINGS.n_fft)}
    target = torch.from_numpy(magnitude)
    angles = torch.rand(target.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    previous = torch.zeros_like(angles)
    for _ in range(N_ITER):
        rebuilt = torch.stft(torch.istft(target * angles, **grid, length=n_samples), **grid, return_complex=True)
        angles = rebuilt - previous * (MOMENTUM / (1 + MOMENTUM))
        angles = angles / (angles.abs() + 1e-16)
        previous = rebuilt
    return torch.istft(target * angles, **grid, length=n_samples).numpy()


def magnitude_of(waveform: Waveform, n_fft: int = SETTINGS.n_fft) -> Waveform:
    return np.abs(librosa.stft(waveform, n_fft=n_fft, hop_length=n_fft // 4))


def convergence_db(waveform: Waveform, magnitude: Waveform) -> float:
    return float(20 * np.log10(np.linalg.norm(magnitude_of(waveform) - magnitude) / np.linalg.norm(magnitude)))


def distance_db(waveform: Waveform, recording: Waveform) -> float:
    """Log-spectral distance at 512/128 over the 60 dB below the recording's loudest cell."""
    levels = [20 * np.log10(np.maximum(magnitude_of(sound, 512), 1e-10)) for sound in (waveform, recording)]
    floor = levels[1].max() - 60
    error = np.maximum(levels[0], floor) - np.maximum(levels[1], floor)
    return float(np.sqrt((error**2).mean(axis=0)).mean())


def warm_up(method: Method, magnitude: Waveform) -> None:
    """Imports, compilation, plans."""
    few = magnitude[:, :WARM_UP_FRAMES]
    method(few, (few.shape[1] - 1) * SETTINGS.hop_length, 0)


def peak_megabytes(name: str, magnitude: Waveform, n_samples: int, threads: int) -> float:
    """Most resident memory during a method beside what there was before. To be called in a new process."""
    torch.set_num_threads(threads)
    method = methods()[name]
    warm_up(method, magnitude)
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return float("nan")
    reset.write_text("5")
    before = psutil.Process().memory_info().rss
    method(magnitude, n_samples, 0)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return (peak - before) / 1e6


def methods() -> dict[str, Method]:
    """What is compared, by name."""
    return {
        f"librosa.griffinlim, {N_ITER}": librosas,
        f"plain torch loop, {N_ITER}": plain_torch,
        f"GriffinLim, {N_ITER}": ours(lambda seed: GriffinLim(SETTINGS, N_ITER, MOMENTUM, seed)),
        "PGHI": ours(lambda seed: PGHI(SETTINGS, seed=seed)),
        **{f"PGHI + {n_iter}": started(PGHIGriffinLim, n_iter) for n_iter in COUNTS[1:]},
        "PGHIGriffinLim, as it comes": ours(lambda seed: PGHIGriffinLim(SETTINGS, seed=seed)),
        **{f"deep + {n_iter}": started(DeepGriffinLim, n_iter) for n_iter in COUNTS},
        "DeepGriffinLim, as it comes": ours(lambda seed: DeepGriffinLim(SETTINGS, seed=seed)),
    }


def started(method: type[GriffinLim], n_iter: int) -> Method:
    return ours(lambda seed: method(SETTINGS, n_iter, seed=seed))


def measure(contenders: list[Contender], waveform: Waveform, rounds: int) -> None:
    """Let contenders take turns, the order reversed every other round."""
    magnitude = magnitude_of(waveform)
    for contender in contenders:
        warm_up(contender.method, magnitude)
    for seed in range(rounds):
        for contender in contenders if seed % 2 == 0 else reversed(contenders):
            start = time.perf_counter()
            result = contender.method(magnitude, len(waveform), seed)
            contender.seconds.append(time.perf_counter() - start)
            contender.convergence_db.append(convergence_db(result, magnitude))
            if seed == 0:
                contender.distance_db = distance_db(result, waveform)


def compare(name: str, waveform: Waveform, rounds: int, threads: int) -> None:
    """Print the table of one recording."""
    contenders = {name: Contender(name, method) for name, method in methods().items()}
    measure(list(contenders.values()), waveform, rounds)
    librosa_s = statistics.median(contenders[f"librosa.griffinlim, {N_ITER}"].seconds)
    patient = []
    for start, method in (("PGHI", PGHIGriffinLim), ("deep", DeepGriffinLim)):
        few, many = (statistics.median(contenders[f"{start} + {n_iter}"].seconds) for n_iter in (COUNTS[1], COUNTS[-1]))
        iteration_s = (many - few) / (COUNTS[-1] - COUNTS[1])
        n_iter = max(1, int((librosa_s - few) / iteration_s))
        patient.append(Contender(f"{start} + {n_iter}, in librosa's time", started(method, n_iter)))
    measure(patient, waveform, 1)
    magnitude = magnitude_of(waveform)
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        peaks = {
            name: pool.submit(peak_megabytes, name, magnitude, len(waveform), threads).result()
            for name in contenders
            if "+" not in name
        }
    seconds = len(waveform) / SETTINGS.sample_rate
    print(f"\n{name}, {seconds:.1f} s\n")
    print("| method, iterations | s | of librosa's time | dB | LSD, dB | MB |\n| --- | --- | --- | --- | --- | --- |")
    for contender in (*contenders.values(), *patient):
        taken, level_db = statistics.median(contender.seconds), statistics.median(contender.convergence_db)
        megabytes = f"{peaks[contender.name]:.0f}" if contender.name in peaks else ""
        print(
            f"| {contender.name} | {taken:.2f} | {taken / librosa_s:.2f} | {level_db:.1f} "
            f"| {contender.distance_db:.1f} | {megabytes} |",
            flush=True,
        )
    iteration_s, fft_s = iteration_seconds(magnitude)
    print(
        f"\nan iteration: {iteration_s * 1e3:.1f} ms; its two FFT passes, all frames at once: {fft_s * 1e3:.1f} ms; "
        f"ratio {iteration_s / fft_s:.2f}"
    )


def iteration_seconds(magnitude: Waveform) -> tuple[float, float]:
    """What an iteration takes, and what it cannot do without: one inverse and one forward transform of all frames."""
    target = torch.from_numpy(magnitude)
    frames = torch.randn(magnitude.shape[1], SETTINGS.n_fft)
    spectra = torch.fft.rfft(frames)
    phase = torch.rand(target.shape)
    calls: dict[str, Callable[[], object]] = {
        "few": lambda: GriffinLim(SETTINGS, 2)(target, phase=phase),
        "many": lambda: GriffinLim(SETTINGS, 12)(target, phase=phase),
        "fft": lambda: (torch.fft.irfft(spectra), torch.fft.rfft(frames)),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(7):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    few, many, fft = (statistics.median(taken[name]) for name in ("few", "many", "fft"))
    return (many - few) / 10, fft


def throughput(device: torch.device, rounds: int) -> None:
    """Print how many seconds of sound a device makes a second."""
    print(f"\n| method | 64 x 3 s on {device} | 60 s on {device} |\n| --- | --- | --- |")
    methods = (GriffinLim(SETTINGS, N_ITER), PGHI(SETTINGS), PGHIGriffinLim(SETTINGS), DeepGriffinLim(SETTINGS))
    batches = [torch.from_numpy(magnitude_of(synthesise(seconds))).to(device) for seconds in (3.0, 60.0)]
    batches[0] = batches[0].expand(64, -1, -1).contiguous()
    for method in methods:
        rates = []
        for magnitude in batches:
            float(method(magnitude).sum())
            taken = []
            for _ in range(rounds):
                start = time.perf_counter()
                waveform: Tensor = method(magnitude)
                float(waveform.sum())  # waits for the device
                taken.append(time.perf_counter() - start)
            rates.append(waveform.numel() / SETTINGS.sample_rate / statistics.median(taken))
        print(f"| {type(method).__name__} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)


def generated(folder: Path, rounds: int) -> None:
    """Print how near each method comes to what a GAN makes."""
    trained = load_run(Run(folder))
    latents = torch.randn(64, trained.gan.latent_dim, generator=torch.Generator().manual_seed(0))
    images = trained.gan.sample(latents)
    magnitude = magnitude_from_db(db_from_image(images[:, 0].float(), trained.scale))
    counts = (0, 1, 4, 8, 16, 32, 100)
    print(f"\n{folder}: mean spectral convergence in dB (seconds for 64 samples) after so many iterations\n")
    print(f"| start | {' | '.join(map(str, counts))} |\n|{' --- |' * (len(counts) + 1)}")
    for name, method in (("random", GriffinLim), ("PGHI", PGHIGriffinLim), ("deep", DeepGriffinLim)):
        cells = []
        for n_iter in counts:
            taken = []
            for _ in range(rounds):
                start = time.perf_counter()
                waveforms = method(trained.settings, n_iter)(magnitude)
                taken.append(time.perf_counter() - start)
            level_db = float(spectral_convergence_db(waveforms, magnitude, trained.settings).mean())
            cells.append(f"{level_db:.2f} ({statistics.median(taken):.2f})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "recordings", nargs="*", type=Path, metavar="RECORDING", help="sound files; one is made if none"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how much of each, from its start")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; medians are printed")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--device", type=torch.device, help="measure throughput on it, e.g. cuda or cpu")
    parser.add_argument("--run", type=Path, help="a training's folder: measure on what it makes")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, librosa {librosa.__version__}, numpy {np.__version__}, {given.threads} threads")
    for path in given.recordings:
        waveform, _ = librosa.load(path, sr=SETTINGS.sample_rate, duration=given.seconds)
        compare(path.name, waveform, given.rounds, given.threads)
    if not given.recordings and given.device is None and given.run is None:
        compare("synthesised", synthesise(given.seconds), given.rounds, given.threads)
    if given.device is not None:
        throughput(given.device, given.rounds)
    if given.run is not None:
        generated(given.run, given.rounds)


if __name__ == "__main__":
    main()
