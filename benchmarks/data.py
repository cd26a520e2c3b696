"""Crops a second from the store beside those of decoding pictures or recordings item by item, and what training needs.

    python benchmarks/data.py [IMAGES] [--recordings FOLDER] [--rounds 7] [--seconds 1] [--minutes 20] [--epochs 2]

IMAGES is a folder of `gan encode`; if not given, --minutes of chords over noise are made and encoded, at 8 kHz, so that
crops are 128 x 128. Recordings are where the images say, or in --recordings.

Each way gives random crops of 128 frames in [-1, 1], in batches of 32, through a `DataLoader` without workers, in the
process itself, and with two. All take turns, for --seconds each, after what was fetched ahead has been used up; medians
of --rounds, on one thread each.

- store: `ImageData.train_dataloader()`,
- picture: the image's PNG is opened by Pillow and decoded, and the crop cut out,
- small picture: a PNG of 8 bits is decoded that holds one crop, made beforehand: the least that a folder of images can
  cost, and its crops never change,
- recording: soundfile reads the stretch; STFT, dB. One of another rate is not resampled, to its advantage.

Then `train.py` trains on these images for --epochs, as configs/default.yaml says but without listening, on one thread:
how many pictures a second, and what share of the time it waits for batches.
"""

import argparse
import contextlib
import io
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import soundfile
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

import train
from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.sound.encoder import encode_recordings
from gan.sound.recording import write_recording
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude, image_from_db, magnitude_from_waveform

N_FRAMES, BATCH, WORKERS = 128, 32, (0, 2)
MADE = SpectrogramSettings(sample_rate=8000, n_fft=256, hop_length=64, win_length=256)
# What a training waited for each batch, and how long it was away with it.
WAITS: list[float] = []
STEPS: list[float] = []


def make_images(folder: Path, minutes: float) -> Path:
    """A recording a minute, and the folder of their images."""
    time_s = np.arange(60 * MADE.sample_rate) / MADE.sample_rate
    for index in range(round(minutes)):
        rng = np.random.default_rng(index)
        chord = np.sin(2 * np.pi * rng.uniform(90, 3000, (4, 1)) * time_s).sum(0) * np.exp(-2 * (time_s % 0.5))
        waveform = (0.1 * chord + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32)
        write_recording(folder / "recordings" / f"{index:03d}.flac", waveform, MADE.sample_rate)
    encode_recordings(folder / "recordings", folder / "images", MADE, n_jobs=1)
    return folder / "images"


def ways(data: ImageData, recordings: Path, small: Path) -> dict[str, Callable[[Crop], Tensor]]:
    """What makes a crop, shape (n_freqs, n_frames), by the names of the ways."""
    settings, scale, images = data.settings, data.scale, data.store.images

    def picture(crop: Crop) -> Tensor:
        codes = np.asarray(Image.open(data.images / images[crop.image].file))[::-1, crop.start :][:, :N_FRAMES]
        relative_db = (codes.astype(np.float32) / (2**settings.bits - 1) - 1) * -settings.floor_db
        return image_from_db(torch.from_numpy(relative_db + (images[crop.image].level_db or 0.0)), scale)

    def small_picture(crop: Crop) -> Tensor:
        codes = np.asarray(Image.open(small / f"{crop.image}_{crop.start}.png"))
        return torch.from_numpy(codes.astype(np.float32)).mul_(2 / 255).sub_(1)

    def recording(crop: Crop) -> Tensor:
        start = round(images[crop.image].start_second * settings.sample_rate) + crop.start * settings.hop_length
        path, n_samples = recordings / images[crop.image].recording, settings.n_samples(N_FRAMES)
        waveform, _ = soundfile.read(path, n_samples, start, dtype="float32", always_2d=True)
        magnitude = magnitude_from_waveform(torch.from_numpy(waveform.mean(1)), settings)
        return image_from_db(db_from_magnitude(magnitude, top_db=None), scale)

    return {"picture": picture, "small picture": small_picture, "recording": recording}


class Items:
    """A data set of crops that are made one by one."""

    def __init__(self, make: Callable[[Crop], Tensor]) -> None:
        self.make = make

    def __getitem__(self, crop: Crop) -> Tensor:
        return self.make(crop)[None]


def loaders(data: ImageData, recordings: Path, small: Path) -> dict[tuple[str, int], Any]:
    """By way and number of workers."""
    batches, dataset = list(data._sampler()), data.crops()
    for crop in itertools.chain.from_iterable(batches):
        codes = ((dataset[crop].images[0, 0] + 1) * 127.5).round().byte()
        Image.fromarray(codes.numpy()).save(small / f"{crop.image}_{crop.start}.png")
    found: dict[tuple[str, int], Any] = {}
    for n in WORKERS:
        data.num_workers = n
        found["store", n] = data.train_dataloader()
        for way, make in ways(data, recordings, small).items():
            kept: Any = {"num_workers": n, "persistent_workers": n > 0}
            found[way, n] = DataLoader(Items(make), batch_sampler=batches, **kept)  # type: ignore[arg-type]
    return found


def rates(loaders: dict[tuple[str, int], Any], rounds: int, seconds: float) -> dict[tuple[str, int], float]:
    """Crops a second of each."""
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


class TimedData(ImageData):
    """Notes down how long its loader was waited for."""

    def train_dataloader(self) -> Any:
        """Random crops of the training images."""
        return Timed(super().train_dataloader())


class Timed:
    """A loader that is timed."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches, asked = iter(self.loader), time.perf_counter()
        for _ in range(len(self)):
            batch, given = next(batches), time.perf_counter()
            WAITS.append(given - asked)
            yield batch
            asked = time.perf_counter()
            STEPS.append(asked - given)


def train_on(images: Path, folder: Path, epochs: int) -> None:
    """Train without listening."""
    train.GANCLI.data = TimedData
    options = [f"--{name}.every_n_epochs=1000000" for name in ("listen", "watchdog", "evaluate")]
    options += [f"--data.images={images}", f"--data.store={folder}/store", f"--trainer.default_root_dir={folder}/runs"]
    options += [f"--data.n_frames={N_FRAMES}", f"--data.batch_size={BATCH}", f"--trainer.max_epochs={epochs}"]
    with contextlib.redirect_stdout(io.StringIO()):
        code = train.run_training(train.GANCLI, [*options, "--trainer.accelerator=cpu"])
    if code:
        raise SystemExit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?", metavar="IMAGES")
    parser.add_argument("--recordings", type=Path, metavar="FOLDER")
    for name, value in (("rounds", 7), ("seconds", 1.0), ("minutes", 20.0), ("epochs", 2)):
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder, small = Path(place), Path(place, "small")
        small.mkdir()
        images = make_images(folder, given.minutes) if given.images is None else given.images.resolve()
        data = ImageData(images, N_FRAMES, BATCH, store=folder / "store")
        data.setup("fit")
        found = rates(loaders(data, given.recordings or images, small), given.rounds, given.seconds)
        train_on(images, folder, given.epochs)
    print(f"{len(data.store.images)} images, {data._sampler().n_crops} crops of {data.image_size} an epoch")
    print(f"| way | {' | '.join(f'crops a second, {n} workers' for n in WORKERS)} | as many as by the store |")
    for way in dict.fromkeys(way for way, _ in found):
        shares = ", ".join(f"1/{found['store', n] / found[way, n]:.1f}" for n in WORKERS)
        print(f"| {way} | {' | '.join(f'{found[way, n]:.0f}' for n in WORKERS)} | {shares} |")
    taken, share = BATCH / statistics.median(STEPS), sum(WAITS) / (sum(WAITS) + sum(STEPS))
    print(f"training takes {taken:.0f} pictures a second and waits for data in {100 * share:.2f} % of its time")
    print(f"the store gives {found['store', 0] / taken:.0f} times as many without a worker")


if __name__ == "__main__":
    main()
