"""Crops a second from the store beside those of decoding pictures or recordings item by item, and what training needs.

    python benchmarks/data.py [IMAGES] [--recordings FOLDER] [--rounds 7] [--seconds 1] [--minutes 20] [--epochs 2]

IMAGES is a folder of `gan encode`; if not given, --minutes of chords and noise are made, at 8 kHz, and encoded so that
crops are 128 x 128. Recordings are where the images say, or in --recordings under the same names.

Each way gives the same random crops of 128 frames, batches of 32 in [-1, 1], through a `DataLoader` with as many
workers as its column says (0: in the process itself); all ways take turns, for --seconds each, after what was fetched
ahead has been used up. Medians of --rounds, on one thread each:

- store: `ImageData.train_dataloader()`,
- picture: open the crop's PNG by Pillow, decode, cut,
- small picture: the same of a PNG of 8 bits that holds this crop and no more, made beforehand, which is the least that
  a folder of images can cost; its crops never change,
- recording: read the stretch, STFT, dB.

Then `train.py` trains for --epochs with configs/default.yaml's networks on these images, on one thread: what share of
the time it waits for batches, and how many times one worker gives what it takes.
"""

import argparse
import contextlib
import io
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import soxr  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

import train  # noqa: E402
from gan.data.crops import Crop  # noqa: E402
from gan.data.datamodule import ImageData  # noqa: E402
from gan.sound.encoder import encode_recordings  # noqa: E402
from gan.sound.recording import write_recording  # noqa: E402
from gan.sound.settings import SpectrogramSettings  # noqa: E402
from gan.sound.spectrogram import db_from_magnitude, image_from_db, magnitude_from_waveform  # noqa: E402

N_FRAMES, BATCH = 128, 32
WORKERS = (0, 2)
MADE = SpectrogramSettings(sample_rate=8000, n_fft=256, hop_length=64, win_length=256)


class Items(Dataset[Tensor]):
    """Crops one by one.

    Args:
        data: The images, after `setup`.
        way: How they are made: one of the names of methods below.
        folder: Where small pictures are, or recordings.
    """

    def __init__(self, data: ImageData, way: str, folder: Path) -> None:
        self.data, self.way, self.folder = data, way, folder

    def __getitem__(self, crop: Crop) -> Tensor:
        image: Tensor = getattr(self, self.way.replace(" ", "_"))(crop)
        return image[None]

    def picture(self, crop: Crop) -> Tensor:
        """Of the image's own file: 16 bits, the lowest frequency at the bottom."""
        image, scale, settings = self.data.store.images[crop.image], self.data.scale, self.data.settings
        codes = np.asarray(Image.open(self.data.images / image.file))[::-1, crop.start : crop.start + N_FRAMES]
        level_db = (codes.astype(np.float32) / (2**settings.bits - 1) - 1) * -settings.floor_db + (image.level_db or 0)
        return image_from_db(torch.from_numpy(level_db), scale)

    def small_picture(self, crop: Crop) -> Tensor:
        """Of a file that holds nothing else."""
        codes = np.asarray(Image.open(self.folder / small_name(crop)))
        return torch.from_numpy(codes.astype(np.float32)).mul_(2 / 255).sub_(1)

    def recording(self, crop: Crop) -> Tensor:
        """Of the recording's sound."""
        image, settings = self.data.store.images[crop.image], self.data.settings
        second = image.start_second + crop.start * settings.hop_length / settings.sample_rate
        with soundfile.SoundFile(self.folder / image.recording) as file:
            file.seek(round(second * file.samplerate))
            n_samples = settings.hop_length * (N_FRAMES - 1) * file.samplerate // settings.sample_rate
            waveform = file.read(n_samples, "float32", always_2d=True).mean(1)
            if file.samplerate != settings.sample_rate:
                waveform = soxr.resample(waveform, file.samplerate, settings.sample_rate)
        magnitude = magnitude_from_waveform(torch.from_numpy(waveform), settings)
        return image_from_db(db_from_magnitude(magnitude, top_db=None), self.data.scale)


def small_name(crop: Crop) -> str:
    return f"{crop.image}_{crop.start}.png"


def make_images(folder: Path, minutes: float) -> Path:
    """Encode chords over noise, a minute each; returns the folder of images."""
    time_s = np.arange(60 * MADE.sample_rate) / MADE.sample_rate
    for index in range(round(minutes)):
        rng = np.random.default_rng(index)
        tones = [np.sin(2 * np.pi * hertz * time_s) * np.exp(-2 * (time_s % 0.5)) for hertz in rng.uniform(90, 3000, 4)]
        waveform = 0.1 * np.sum(tones, axis=0) + 0.01 * rng.standard_normal(len(time_s))
        write_recording(folder / "recordings" / f"{index:03d}.flac", waveform.astype(np.float32), MADE.sample_rate)
    encode_recordings(folder / "recordings", folder / "images", MADE, n_jobs=1)
    return folder / "images"


def loaders(data: ImageData, recordings: Path, small: Path) -> dict[tuple[str, int], DataLoader[Any]]:
    """By way and number of workers."""
    batches = list(data._sampler())
    dataset = data.crops()
    for crop in itertools.chain.from_iterable(batches):
        codes = (dataset[crop].images[0, 0] + 1) * 127.5
        Image.fromarray(codes.round().byte().numpy()).save(small / small_name(crop))
    found = {}
    for n_workers in WORKERS:
        data.num_workers = n_workers
        found["store", n_workers] = data.train_dataloader()
        for way, folder in (("picture", data.images), ("small picture", small), ("recording", recordings)):
            options = {"num_workers": n_workers, "persistent_workers": n_workers > 0}
            found[way, n_workers] = DataLoader(Items(data, way, folder), batch_sampler=batches, **options)
    return found


def rates(loaders: dict[tuple[str, int], DataLoader[Any]], rounds: int, seconds: float) -> dict[tuple[str, int], float]:
    """Crops a second of each, medians."""
    endless = {name: itertools.chain.from_iterable(itertools.repeat(loader)) for name, loader in loaders.items()}
    found: dict[tuple[str, int], list[float]] = {name: [] for name in loaders}
    for index in range(rounds):
        for name in sorted(loaders, reverse=index % 2 == 1):
            for _ in range(2 * name[1] + 1):
                next(endless[name])
            n_batches, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                next(endless[name])
                n_batches += 1
            found[name].append(BATCH * n_batches / (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in found.items()}


class Timed:
    """A loader that notes down how long it was waited for, and how long the training was away."""

    waits: list[float] = []
    steps: list[float] = []

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for _ in range(len(self)):
            start = time.perf_counter()
            batch = next(batches)
            given = time.perf_counter()
            yield batch
            self.waits.append(given - start)
            self.steps.append(time.perf_counter() - given)


class TimedData(ImageData):
    """Its loader is timed."""

    def train_dataloader(self) -> Any:
        """Random crops of the training images."""
        return Timed(super().train_dataloader())


def train_on(images: Path, store: Path, root: Path, epochs: int) -> int:
    """Train without listening; returns the exit code."""
    train.GANCLI.data = TimedData
    never = [f"--{name}.every_n_epochs=1000000" for name in ("listen", "watchdog", "evaluate")]
    options = [f"--data.images={images}", f"--data.store={store}", f"--trainer.default_root_dir={root}"]
    sizes = [f"--data.n_frames={N_FRAMES}", f"--data.batch_size={BATCH}", f"--trainer.max_epochs={epochs}"]
    with contextlib.redirect_stdout(io.StringIO()):
        return train.run_training(train.GANCLI, [*options, *sizes, *never, "--trainer.accelerator=cpu"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?", metavar="IMAGES")
    parser.add_argument("--recordings", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder, small = Path(place), Path(place, "small")
        small.mkdir()
        images = make_images(folder, given.minutes) if given.images is None else given.images.resolve()
        data = ImageData(images, N_FRAMES, BATCH, store=folder / "store")
        data.setup("fit")
        found = rates(loaders(data, given.recordings or images, small), given.rounds, given.seconds)
        n_freqs, n_crops = data.image_size[0], data._sampler().n_crops
        print(
            f"{len(data.store.images)} images, {n_crops} crops of {n_freqs} x {N_FRAMES} an epoch, batches of {BATCH}"
        )
        print(f"| way | {' | '.join(f'crops a second, {n} workers' for n in WORKERS)} | store is faster by |")
        for way in dict.fromkeys(way for way, _ in found):
            ratios = " and ".join(f"{found['store', n] / found[way, n]:.1f}" for n in WORKERS)
            print(f"| {way} | {' | '.join(f'{found[way, n]:.0f}' for n in WORKERS)} | {ratios} |")
        if code := train_on(images, folder / "store", folder / "runs", given.epochs):
            return code
    share = sum(Timed.waits) / (sum(Timed.waits) + sum(Timed.steps))
    appetite = BATCH / statistics.median(Timed.steps)
    print(f"training: {appetite:.0f} pictures a second; {100 * share:.2f} % of its time it waits for data")
    print(f"one worker gives {found['store', 0] / appetite:.0f} times that")
    return 0


if __name__ == "__main__":
    sys.exit(main())
