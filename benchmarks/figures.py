"""Figures of spectrograms read back: how exactly, how fast and in how much memory, beside the naive way.

    python benchmarks/figures.py RECORDING... [--folder DIR] [--rounds 3] [--files 10]

Windows of 60 s (22,050 Hz mono, recordings in an endless loop) are drawn as librosa's users draw them: 20 x 20 inches
full of grey cells, 1000 dpi, JPEG 100, and smaller; and pages of 10 x 4 inches at 100 dpi with axes, title and colour
bar, PNG. "Old" figures lie as librosa 0.8 and older drew them. gan finds out what they show; what it was told is in the
first column. The naive way knows everything: Pillow's Image.open(...).convert("L").resize((n_frames, n_freqs)), grey to
dB in a straight line. It can do nothing with colours and margins. Drawing a large figure takes 20 s and 3 GB.

Accuracy: pixels of a cell, width x height (median); the share of cells that have a pixel of their own; root mean square
of the difference in dB from the drawn matrix below its maximum, over these cells and over all; spectral convergence,
20 log10(|A - B| / |A|) of amplitudes, the lower the nearer; and wall seconds of one read, the median of --rounds in one
process. A page's axes begin somewhere within a pixel, and nothing shows where: cells thinner than a pixel may then be
taken for their neighbours, and the difference of such pages is a matter of luck.

One file: each read has a process of its own, and the two ways take turns. Seconds of one processor and by the clock
(medians), without imports; the most memory that the process had (ru_maxrss), and how much of it came with the read.

A folder: `gan ingest` on all cores, into a new store, files named as in the question that this began with. Imports do
not count; the most memory of the whole process does. 1300 files are worked out from it: time and store grow with the
files, memory does not.

Everything runs in processes of their own, so that nothing counts the memory of anything else; with one thread of BLAS,
but for the folder.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

# The first process imports nothing large: at first a child counts the memory of its parent as its own.

SAMPLE_RATE = 22050
HOP_LENGTH = 512
RANGE_DB = 80.0
N_FILES = 1300
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Drawing:
    """How a figure is drawn.

    Attributes:
        recording: Sound file.
        start: Seconds from its beginning; it is repeated without end.
        seconds: Length of the sound.
        pixels: Width and height of a picture full of grey cells; None for a page with axes and colours.
        old: Whether cells lie as librosa 0.8 drew them.
        quality: Of a JPEG.
        y_axis: Frequency axis.
    """

    recording: str
    start: float = 0.0
    seconds: float = 60.0
    pixels: int | None = None
    old: bool = False
    quality: int = 100
    y_axis: Literal["linear", "log", "mel"] = "linear"

    @property
    def name(self) -> str:
        """Of the file, without a folder."""
        size = f"{self.pixels}_q{self.quality}.jpg" if self.pixels else "page.png"
        era = "old" if self.old else "new"
        return f"{Path(self.recording).stem}_{self.start:g}_{self.seconds:g}_{self.y_axis}_{era}_{size}"


def cases(recording: str) -> list[tuple[str, Drawing, dict[str, Any]]]:
    """Rows of the first table: title, figure and what has to be said of it."""
    grey, page = Drawing(recording, pixels=20000), Drawing(recording, start=10.0, seconds=5.0)
    wide = replace(page, start=0.0, seconds=60.0)
    return [
        ("20000 px", grey, {}),
        ("20000 px, old", replace(grey, old=True), {}),
        ("20000 px, JPEG 75", replace(grey, quality=75), {}),
        ("5000 px", replace(grey, pixels=5000), {}),
        ("2500 px", replace(grey, pixels=2500), {}),
        ("2500 px, JPEG 75", replace(grey, pixels=2500, quality=75), {}),
        ("1000 px, told n_fft, seconds", replace(grey, pixels=1000), {"n_fft": 2048, "seconds": 60.0}),
        ("page of 5 s", page, {}),
        ("page of 5 s, old", replace(page, old=True), {}),
        ("page of 60 s, told seconds", wide, {"seconds": 60.0}),
        ("page of 60 s, old, told seconds", replace(wide, old=True), {"seconds": 60.0}),
        ("page of 5 s, log", replace(page, y_axis="log"), {}),
        ("page of 5 s, 128 mel", replace(page, y_axis="mel"), {}),
    ]


def level_db(drawing: Drawing) -> Any:
    """The matrix that is drawn."""
    import librosa
    import numpy as np

    places = round(drawing.start * SAMPLE_RATE) + np.arange(round(drawing.seconds * SAMPLE_RATE))
    waveform = librosa.load(drawing.recording, sr=SAMPLE_RATE)[0].take(places, mode="wrap")
    if drawing.y_axis == "mel":
        return librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE), ref=np.max)
    return librosa.amplitude_to_db(np.abs(librosa.stft(waveform)), ref=np.max)


def draw(path: str, drawing: dict[str, Any]) -> dict[str, Any]:
    import librosa.display
    import matplotlib as mpl
    import numpy as np

    from gan.files import atomic_write

    mpl.use("agg")
    from matplotlib import pyplot as plt

    how = Drawing(**drawing)
    shown_db = level_db(how)
    if how.pixels:
        figure = plt.figure(figsize=(20, 20), dpi=how.pixels / 20, frameon=False)
        figure.add_axes((0, 0, 1, 1), frameon=False).axis("off")
    else:
        figure = plt.figure(figsize=(10, 4), dpi=100)
    colours = "gray" if how.pixels else "viridis"
    if how.old:
        # librosa 0.8's coordinates: edges, half a cell for the first and the last frequency.
        frequencies = librosa.fft_frequencies(sr=SAMPLE_RATE)
        edges = np.append(np.maximum(0, frequencies - frequencies[1] / 2), frequencies[-1])
        times = np.arange(shown_db.shape[1] + 1) * HOP_LENGTH / SAMPLE_RATE
        mesh = plt.pcolormesh(times, edges, shown_db, cmap=colours, rasterized=True, edgecolors="none", shading="flat")
        plt.gca().set(xlim=times[[0, -1]], ylim=edges[[0, -1]], xlabel="Time", ylabel="Hz")
    else:
        y_axis = "hz" if how.y_axis == "linear" else how.y_axis
        mesh = librosa.display.specshow(shown_db, sr=SAMPLE_RATE, cmap=colours, x_axis="time", y_axis=y_axis)
    with atomic_write(Path(path)) as part:
        if how.pixels:
            figure.savefig(part, format="jpg", pad_inches=0, pil_kwargs={"quality": how.quality})
        else:
            plt.colorbar(mesh, format="%+2.0f dB")
            plt.title("Spectrogram")
            figure.savefig(part, format="png", bbox_inches="tight")
    return {}


def naive(path: str, drawing: Drawing) -> Any:
    """Levels below the maximum by what comes to mind first."""
    import numpy as np
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    n_frames = 1 + round(drawing.seconds * SAMPLE_RATE) // HOP_LENGTH
    grey = Image.open(path).convert("L").resize((n_frames, 1025))
    return (np.asarray(grey, np.float32)[::-1] / 255 - 1) * RANGE_DB


def read(path: str, drawing: dict[str, Any], options: dict[str, Any] | None, rounds: int) -> dict[str, Any]:
    """Read a figure by gan, or in the naive way if there are no options, and note down what it took."""
    import numpy  # noqa: F401  before the clock starts, as what follows
    import PIL.Image  # noqa: F401

    from gan.errors import InputError

    if options is not None:
        from gan.sound.figure.reader import FigureOptions, read_figure
    how, costs = Drawing(**drawing), []
    for _ in range(rounds):
        before, cpu, wall = peak_bytes(), time.process_time(), time.perf_counter()
        try:
            result = naive(path, how) if options is None else read_figure(Path(path), FigureOptions(**options))
        except InputError as error:
            return {"refused": str(error).removeprefix(f"{path}: ")}
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        costs.append({"cpu": cpu, "wall": wall, "peak": peak_bytes(), "growth": peak_bytes() - before})
    if rounds == 1:
        return costs[0]
    return {"wall": statistics.median(cost["wall"] for cost in costs)} | accuracy(result, level_db(how))


def accuracy(result: Any, shown_db: Any) -> dict[str, Any]:
    """How near a figure of gan's, or a matrix, is to the matrix that was drawn."""
    import numpy as np

    from gan.sound.figure.grid import TIE

    layout = getattr(result, "layout", None)
    read_db = getattr(result, "relative_db", result)
    true_db = np.maximum(shown_db - shown_db.max(), -RANGE_DB)
    if read_db.shape != true_db.shape:
        return {"refused": f"read as {read_db.shape} instead of {true_db.shape}"}

    def rms(values: Any) -> float:
        return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))

    magnitude, truth = 10 ** (read_db / 20), 10 ** (true_db / 20)
    convergence = 20 * np.log10(rms(magnitude - truth) / rms(truth))
    found = {"rms": rms(read_db - true_db), "convergence": float(convergence)}
    if layout is not None:
        left, top, right, bottom = layout.box
        # A pixel in whose middle an edge lies is of neither cell; the reader leaves it out too.
        y, x = layout.row_edges.clip(top, bottom), layout.column_edges.clip(left, right)
        rows = np.floor(y[:-1] + 0.5 - TIE) > np.floor(y[1:] + 0.5 + TIE)
        columns = np.floor(x[1:] + 0.5 - TIE) > np.floor(x[:-1] + 0.5 + TIE)
        own = np.outer(rows, columns)
        found |= {"own": float(own.mean()), "own_rms": rms((read_db - true_db)[own])}
        found["cell"] = [float(np.median(np.abs(np.diff(e)))) for e in (layout.column_edges, layout.row_edges)]
    return found


def ingest(pictures: str, store: str) -> dict[str, Any]:
    import gan.commands.ingest  # noqa: F401  before the clock starts
    from gan.commands.main import main

    cpu, wall = time.process_time(), time.perf_counter()
    code = main(["ingest", pictures, store])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    n_bytes = sum(path.stat().st_size for path in Path(store).rglob("*") if path.is_file())
    return {"code": code, "cpu": cpu, "wall": wall, "peak": peak_bytes(), "bytes": n_bytes}


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return BYTES_OF_MAXRSS * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def work(task: str, **arguments: Any) -> dict[str, Any]:
    """Do a task in a process of its own."""
    command = [sys.executable, __file__, "--worker", json.dumps([task, arguments])]
    environment = os.environ | (ONE_THREAD if task != "ingest" else {})
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    *lines, last = output.splitlines()
    print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)
    result: dict[str, Any] = json.loads(last)
    return result


def drawn(drawing: Drawing, path: Path) -> str:
    """Path of a figure, which is drawn if it is not there."""
    if not path.exists():
        print(f"drawing {path}", file=sys.stderr)
        work("draw", path=str(path), drawing=asdict(drawing))
    return str(path)


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def header(title: str, *cells: str) -> None:
    print(f"\n{title}\n")
    row(*cells)
    row(*["---"] * len(cells))


def compare_accuracy(recording: str, folder: Path, rounds: int) -> None:
    ours = ("figure", "pixels a cell", "cells with a pixel", "their rms, dB", "rms, dB", "convergence, dB", "s")
    header("Accuracy", *ours, "naive: rms, dB", "convergence, dB", "s")
    for title, drawing, options in cases(recording):
        path = drawn(drawing, folder / drawing.name)
        # One read at least for imports and one for the clock.
        task = {"path": path, "drawing": asdict(drawing), "rounds": max(2, rounds)}
        found = work("read", options=options, **task)
        if "refused" in found:
            row(title, found["refused"], *["-"] * 8)
            continue
        width, height = found["cell"]
        cells = [f"{width:.2f} x {height:.2f}", f"{found['own']:.1%}", f"{found['own_rms']:.3f}", *numbers(found)]
        naive = numbers(work("read", options=None, **task)) if drawing.pixels else ["-"] * 3
        row(title, *cells, *naive)


def numbers(found: dict[str, Any]) -> list[str]:
    return [f"{found['rms']:.3f}", f"{found['convergence']:.1f}", f"{found['wall']:.2f}"]


def compare_cost(recording: str, folder: Path, rounds: int) -> None:
    _, drawing, _ = cases(recording)[0]
    path = drawn(drawing, folder / drawing.name)
    costs: dict[str, list[dict[str, Any]]] = {"gan": [], "naive": []}
    for index in range(rounds):
        for way in sorted(costs, reverse=index % 2 == 1):
            options = {} if way == "gan" else None
            costs[way].append(work("read", path=path, drawing=asdict(drawing), options=options, rounds=1))
    keys = ("cpu", "wall", "peak", "growth")
    medians = {way: [statistics.median(cost[key] for cost in costs[way]) for key in keys] for way in costs}
    title = f"One file of {Path(path).stat().st_size / 1e6:.0f} MB, medians of {rounds}"
    header(title, "", "processor, s", "clock, s", "peak, GB", "of it the read, GB")
    for way, (cpu, wall, peak, growth) in medians.items():
        row(way, f"{cpu:.2f}", f"{wall:.2f}", f"{peak / 1e9:.2f}", f"{growth / 1e9:.2f}")
    row("ratio", *(f"{naive / ours:.1f}" for ours, naive in zip(medians["gan"], medians["naive"], strict=True)))


def measure_folder(recordings: Sequence[str], folder: Path, n_files: int, rounds: int) -> None:
    pictures = folder / f"folder_{n_files}"
    for index in range(n_files):
        window, number = divmod(index, len(recordings))
        recording = recordings[number]
        name = f"{Path(recording).name}{60 * (window + 1)}.jpg"
        drawn(Drawing(recording, 60.0 * window, pixels=20000), pictures / name)
    results = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as store:
            results.append(work("ingest", pictures=str(pictures), store=store))
        if results[-1]["code"] != 0:
            sys.exit(f"gan ingest left figures of {pictures} out")
    keys = ("cpu", "wall", "peak", "bytes")
    cpu, wall, peak, n_bytes = (statistics.median(result[key] for result in results) for key in keys)
    n_input = sum(path.stat().st_size for path in pictures.iterdir())
    size = f"{n_input / n_files / 1e6:.0f} MB on average"
    columns = ("files", "clock, s", "clock, s a file", "processor, s a file", "peak, GB", "store, GB")
    header(f"A folder of 20000 px figures, {size}, {os.cpu_count()} cores, medians of {rounds}", *columns)
    for label, share in ((str(n_files), 1.0), (f"{N_FILES}, extrapolated", N_FILES / n_files)):
        each = (f"{share * wall:.1f}", f"{wall / n_files:.2f}", f"{cpu / n_files:.2f}")
        row(label, *each, f"{peak / 1e9:.2f}", f"{share * n_bytes / 1e9:.3f}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", metavar="RECORDING", help="sound files; the first is for two tables")
    parser.add_argument("--folder", type=Path, help="where figures are kept, and found again; a temporary one if none")
    parser.add_argument("--rounds", type=int, default=3, help="reads of each; medians are printed")
    parser.add_argument("--files", type=int, default=10, help="figures in the folder, 75 to 105 MB each")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        task, task_arguments = json.loads(given.worker)
        print(json.dumps({"draw": draw, "read": read, "ingest": ingest}[task](**task_arguments)))
        return
    if not given.recordings:
        parser.error("a RECORDING is needed")
    print(", ".join(f"{name} {version(name)}" for name in ("pillow", "numpy", "matplotlib", "librosa")))
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        compare_accuracy(given.recordings[0], folder, given.rounds)
        compare_cost(given.recordings[0], folder, given.rounds)
        if given.files:
            measure_folder(given.recordings, folder, given.files, given.rounds)


if __name__ == "__main__":
    main()
