"""A store of 130,000 pictures beside one of 1,300: what is slower with a hundred times as many.

    python benchmarks/store.py [--images 130000] [--against 1300] [--rounds 3] [--batches 60]

Pictures are 60 s each, 1025 x 2584 cells of 8 bits, twenty windows a recording. Their files are there, and empty; the
store's index is whole; its frames are a file with holes (344 GB if they were not) and noise where it is read.

Opening: seconds, each round in a process of its own that has imported everything; the two stores take turns. "settings"
is what a training asks first, before its networks are made: it looks at every file, and reads the index. "store" is the
rest of opening, and "again" what each checkpoint asks of the data. Memory is what the process has of its own behind all
that, more than before; pages of the frames, which are the computer's to take back, count apart.

Crops: milliseconds of the clock for each of random crops of 128 frames, a batch of one store and one of the other in
turn, medians. Before, the same number of bytes was written to both where these crops lie, so that they lie in memory;
the maps are new. What has to come from a disk first takes as long as the disk takes, and is not measured.

Growing: a picture of noise is added, and the store opened: seconds, and what was written by that, index included;
medians of the rounds, each with a picture more.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402

from gan.data.build import made_with  # noqa: E402
from gan.data.crops import Crop, CropDataset  # noqa: E402
from gan.data.datamodule import ImageData  # noqa: E402
from gan.data.index import StoredImage  # noqa: E402
from gan.data.kind import Kind  # noqa: E402
from gan.data.listing import find_versions  # noqa: E402
from gan.data.opening import AS_FOUND, open_store, scan_of  # noqa: E402
from gan.data.shards import row_bytes  # noqa: E402
from gan.data.store import ImageStore, write_index  # noqa: E402
from gan.sound.codec import encode_image  # noqa: E402
from gan.sound.settings import SpectrogramSettings  # noqa: E402

SETTINGS = SpectrogramSettings(bits=8)
N_FRAMES, N_WINDOWS, CROP, BATCH = 2584, 20, 128, 32
FRAMES = "synthetic.frames"


def make(folder: Path, n_images: int) -> None:
    """Empty files of images, and a store as if they had been read."""
    (folder / ".store").mkdir(parents=True)
    rng, images = np.random.default_rng(0), []
    for index in range(n_images):
        recording, window = divmod(index, N_WINDOWS)
        file = f"recording_{recording:05d}.{window:02d}.png"
        (folder / file).touch()
        status = (folder / file).stat()
        level_db = float(rng.uniform(20, 50))
        place = (index * N_FRAMES, N_FRAMES, level_db, f"recording_{recording:05d}.wav", 60.0 * window)
        images.append(StoredImage(file, status.st_size, status.st_mtime_ns, rng.bytes(32).hex(), *place))
    with (folder / ".store" / FRAMES).open("wb") as file:
        file.truncate(n_images * N_FRAMES * row_bytes(SETTINGS))
    # A training refuses images in which nothing is to be seen.
    write_noise(folder, [index * N_FRAMES for index in range(min(n_images, 5 * N_WINDOWS))])
    scan, made = scan_of(find_versions(folder), AS_FOUND), made_with(AS_FOUND)
    write_index(folder / ".store", [FRAMES], scan, made, Kind(SETTINGS), images, [], False, [], lambda: None)


def write_noise(folder: Path, rows: Sequence[int]) -> None:
    """As long as a crop, from each of these frames on."""
    noise = np.random.default_rng(0).bytes(CROP * row_bytes(SETTINGS))
    with (folder / ".store" / FRAMES).open("r+b") as file:
        for row in rows:
            file.seek(row * row_bytes(SETTINGS))
            file.write(noise)
        os.fsync(file.fileno())


def open_all(folder: Path) -> dict[str, float]:
    """What a training does before its first batch, with what each part took and the memory of it all."""
    found: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        found[f"{name}, s"] = time.perf_counter() - start

    before = psutil.Process().memory_info()
    data = ImageData(folder, CROP, BATCH)
    for name, part in parts(data).items():
        with timed(name):
            part()
    after = psutil.Process().memory_info()
    own, shared = after.rss - after.shared - before.rss + before.shared, after.shared - before.shared
    return found | {"own memory, MB": own / 1e6, "pages of the frames, MB": shared / 1e6}


def parts(data: ImageData) -> dict[str, Callable[[], object]]:
    """Of opening, in their order."""
    return {
        "settings": lambda: data.settings,
        "store": lambda: data.store,
        "setup": lambda: data.setup("fit"),
        "first batch": lambda: next(iter(data.train_dataloader())),
        "first checkpoint": data.state_dict,
        "checkpoint again": data.state_dict,
    }


def compare_opening(folders: dict[int, Path], rounds: int) -> dict[int, dict[str, float]]:
    """Medians of the rounds."""
    costs: dict[int, list[dict[str, float]]] = {number: [] for number in folders}
    for index in range(rounds):
        for number in sorted(folders, reverse=index % 2 == 1):
            command = [sys.executable, __file__, "--worker", str(folders[number])]
            costs[number].append(json.loads(subprocess.check_output(command, text=True).splitlines()[-1]))
    return {
        number: {name: statistics.median(cost[name] for cost in each) for name in each[0]}
        for number, each in costs.items()
    }


def compare_crops(folders: dict[int, Path], n_batches: int) -> dict[int, dict[str, float]]:
    """Medians over batches of the milliseconds of a crop."""
    batches: dict[int, list[list[Crop]]] = {}
    datasets = {}
    for number, folder in folders.items():
        data = ImageData(folder, CROP, BATCH)
        data.setup("fit")
        batches[number] = list(itertools.islice(data._sampler(), n_batches))
        rows = [data.store.images.first_row[image] + start for batch in batches[number] for image, start in batch]
        write_noise(folder, rows)
        datasets[number] = CropDataset(ImageStore(folder / ".store"), data.scale, CROP)
    times: dict[int, list[float]] = {number: [] for number in folders}
    for index in range(n_batches):
        for number in sorted(folders, reverse=index % 2 == 1):
            start = time.perf_counter()
            datasets[number].__getitems__(batches[number][index])
            times[number].append(1e3 * (time.perf_counter() - start) / BATCH)
    return {number: {"crop, ms": statistics.median(each)} for number, each in times.items()}


def grow(folder: Path, rounds: int) -> dict[str, float]:
    """Medians of what it costs to add a picture."""
    costs = []
    for index in range(rounds):
        noise = torch.rand(SETTINGS.n_freqs, N_FRAMES, generator=torch.Generator().manual_seed(index))
        encode_image(folder / f"new_{index}.png", noise, SETTINGS)
        before, start = psutil.Process().io_counters().write_chars, time.perf_counter()
        open_store(folder, folder / ".store")
        costs.append((time.perf_counter() - start, psutil.Process().io_counters().write_chars - before))
    seconds, n_bytes = map(statistics.median, zip(*costs, strict=True))
    return {"a picture more, s": seconds, "a picture more, MB written": n_bytes / 1e6}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make both stores, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=130_000)
    parser.add_argument("--against", type=int, default=1_300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.worker:
        print(json.dumps(open_all(given.worker)))
        return
    with tempfile.TemporaryDirectory() as place:
        folders = {number: Path(place, str(number)) for number in (given.against, given.images)}
        for number, folder in folders.items():
            make(folder, number)
        opened, crops = compare_opening(folders, given.rounds), compare_crops(folders, given.batches)
        grown = {number: grow(folder, given.rounds) for number, folder in folders.items()}
    few, many = (opened[number] | crops[number] | grown[number] for number in folders)
    print(f"| images | {given.against:,} | {given.images:,} | ratio |")
    for name, value in few.items():
        ratio = f"{many[name] / value:.1f}" if value > 0 else "-"
        print(f"| {name} | {value:.4g} | {many[name]:.4g} | {ratio} |")


if __name__ == "__main__":
    main()
