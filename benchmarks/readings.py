"""Ordinary figures of known recordings, read back: right, wrong with or without a word, or refused.

    python benchmarks/readings.py [--cache DIR] [--only PATTERN] [--recording NAME] [--music FILE] [--verbose]

Recordings of 4 s at 22,050 Hz are drawn as people draw them with matplotlib, librosa, SciPy and SoX (where it is
installed), then cut, compressed and resized. Each figure is read twice: (a) without options, (b) with those that its
user knows (`Kind.given`). A reading is

    RIGHT     as drawn, or refused where the figure shows no spectrogram (CQT, chroma, MFCC)
    POINTED   wrong; a warning or a low confidence points to the fault
    MISLED    wrong; the warnings point elsewhere
    SILENT    wrong without a word
    REFUSED   refused with a message

After POINTED and REFUSED the options that the message names are given with their true values, at most twice: "advice:
right", "advice: circle" (nothing new is named, or what was given has to be left out) or what comes out instead.

Right means, at the cells that the figure shows more than 3 dB above its floor: a rank correlation of the levels of at
least 0.9 with the drawn ones, a median error of at most 1 dB (JPEG 3, smooth or thinner than a pixel 4), partials of
the tones within 0.5 % of their places in what was drawn, and a length within 2 % or half a hop. The level is free; so
is the range in dB where --range_db was not given, as no picture shows it.
"""

import argparse
import fnmatch
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import librosa  # noqa: E402  matplotlib's renderer is chosen first
import librosa.display  # noqa: E402
import numpy as np  # noqa: E402
import scipy.signal  # noqa: E402
import scipy.stats  # noqa: E402
import soundfile  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

from gan.errors import InputError  # noqa: E402
from gan.sound.figure.options import FigureOptions  # noqa: E402
from gan.sound.figure.reader import read_figure  # noqa: E402

RATE = 22050
TONES = (440.0, 660.0, 880.0, 550.0)
NOISES = {"clean": 1e-6, "near": 1e-4, "noisy": 1e-3, "noisier": 1e-2}
SOUNDS = (*NOISES, "note", "bursts", "speech", "chords", "music")
VERDICTS = ("RIGHT", "POINTED", "MISLED", "SILENT", "REFUSED", "CRASHED")
LOW_CONFIDENCE = 0.8
NO_SPECTROGRAMS = ("cqt", "chroma", "mfcc")
# Words of a warning, and names of findings, that point to a fault.
WORDS = {
    "orientation": r"colormap|upside_down|_r\b|loud|reversed",
    "pitch": r"n_fft|rows|y_axis|max_hz|min_hz|mel|frequenc|--box",
    "length": r"seconds|hop_length|columns|length|--box",
    "levels": r"range_db|values|colou?rs|dB|too thin|smooth",
}
WORDS["cells"] = f"{WORDS['pitch']}|{WORDS['length']}|too thin|half a pixel|smooth"
KNOWN = {each.name for each in fields(FigureOptions)}


@dataclass(frozen=True)
class Kind:
    """How a figure is drawn.

    Attributes:
        name: For the table and the file.
        how: Function that draws: specshow, specgram, imshow, pcolormesh, gouraud, bare (an array of pixels) or sox.
        given: Options that its user knows; their values follow from the rest.
        feature: stft, scipy (scipy.signal.spectrogram), mel, cqt, chroma or mfcc.
        scale: db, magnitude or power.
        axes: Arguments of `Axes.set`.
        arguments: Further arguments of the drawing function, or of SoX.
        save: Arguments of `Figure.savefig`.
        after: What happens to the picture then: names and arguments of `changed`.
    """

    name: str
    how: str = "specshow"
    given: tuple[str, ...] = ("n_fft", "seconds")
    feature: str = "stft"
    scale: str = "db"
    n_fft: int = 2048
    hop: int = 0
    win: int = 0
    n_mels: int = 128
    top_db: float | None = 80.0
    y_axis: str | None = "hz"
    x_axis: str | None = "time"
    cmap: str | None = None
    size: tuple[float, float] = (10, 4)
    dpi: int = 100
    bar: bool = True
    title: bool = True
    off: bool = False
    fill: bool = False
    style: str = "default"
    wave: bool = False
    grid: bool = False
    upside_down: bool = False
    tight_layout: bool = False
    axes: dict[str, Any] = field(default_factory=dict)
    arguments: Any = field(default_factory=dict)
    save: dict[str, Any] = field(default_factory=dict)
    after: tuple[tuple[Any, ...], ...] = ()

    @property
    def is_smooth(self) -> bool:
        smooth = self.how in ("specgram", "gouraud", "sox") or any(step[0] in ("resize",) for step in self.after)
        return smooth or (self.how == "imshow" and self.arguments.get("interpolation") != "nearest")

    @property
    def is_lossy(self) -> bool:
        return any(step[0] == "jpeg" for step in self.after)


@dataclass(frozen=True)
class Shown:
    """What a figure shows.

    Attributes:
        level_db: Within its limits, shape (n_rows, n_columns).
        hz: Frequencies of the rows.
        rows: Indices of the rows that have a pixel.
        columns: The same of the columns.
        floor_db: Level of its lowest color that says something.
        start: Seconds of the recording before it.
        options: True values of all options.
    """

    level_db: Any
    hz: Any
    rows: Any
    columns: Any
    floor_db: float
    start: float
    options: dict[str, Any]


def kinds() -> list[Kind]:
    base = Kind("specshow")
    large = replace(base, size=(12, 8), dpi=150)
    short = replace(base, n_fft=512, size=(12, 8))
    alone = {"bbox_inches": "tight", "pad_inches": 0}
    specgram = Kind("specgram", "specgram", n_fft=256, hop=128, top_db=None, size=(10, 6))
    imshow = Kind("imshow", "imshow", n_fft=512, arguments={"aspect": "auto", "origin": "lower"})
    extent = {"aspect": "auto", "origin": "lower", "extent": [0, 4, 0, RATE / 2]}
    gouraud = Kind("gouraud", "gouraud", n_fft=512, size=(12, 8))
    scipys = Kind("scipy", "pcolormesh", feature="scipy", n_fft=256, hop=224, top_db=None, size=(12, 8))
    mel = replace(base, feature="mel", y_axis="mel", size=(12, 8), given=("y_axis", "n_mels", "n_fft", "seconds"))
    recipe = Kind("recipe", cmap="gray", size=(20, 20), dpi=50, bar=False, title=False, off=True, fill=True)
    both = ("n_fft", "hop_length", "seconds")
    cut = ("n_fft", "seconds", "min_hz", "max_hz", "y_axis")
    sox = Kind("sox", "sox", n_fft=1024, hop=RATE // 200, top_db=120, arguments=(), given=(*both, "range_db"))

    def like(kind: Kind, name: str, **changes: Any) -> Kind:
        return replace(kind, name=name, **changes)

    return [
        base,
        *(like(base, f"specshow_{size[0]}x{size[1]}_{dpi}", size=size, dpi=dpi)
          for size, dpi in (((6, 4), 72), ((6, 4), 100), ((10, 4), 150), ((12, 8), 100), ((14, 5), 300))),
        like(large, "specshow_large"),
        like(large, "y_linear", y_axis="linear"),
        like(large, "y_log", y_axis="log"),
        like(large, "y_none", y_axis=None),
        like(large, "xy_none", y_axis=None, x_axis=None),
        like(base, "y_log_small", y_axis="log"),
        *(like(large, f"cmap_{cmap}", cmap=cmap) for cmap in ("viridis", "gray", "gray_r", "inferno", "jet", "magma")),
        *(like(short, f"short_{cmap}", cmap=cmap) for cmap in ("viridis", "gray_r", "inferno", "jet")),
        like(large, "tight", save={"bbox_inches": "tight"}),
        like(large, "tight_layout", tight_layout=True),
        like(large, "axis_off", off=True, bar=False, title=False, save=alone),
        like(short, "axis_off_short", off=True, bar=False, title=False, save=alone),
        like(short, "axis_off_gray", off=True, bar=False, title=False, save=alone, cmap="gray"),
        recipe,
        like(recipe, "recipe_jpeg", after=(("jpeg", 95),)),
        like(recipe, "recipe_256", dpi=13, n_fft=512),
        specgram,
        like(specgram, "specgram_off", off=True, bar=False, title=False, save=alone, size=(10, 10)),
        like(specgram, "specgram_1024", n_fft=1024, hop=512, off=True, bar=False, title=False, save=alone, dpi=150,
             size=(10, 10), given=both),
        like(specgram, "specgram_1024_axes", n_fft=1024, hop=512, given=both),
        like(specgram, "specgram_gray", cmap="gray"),
        like(specgram, "specgram_small", size=(6.4, 4.8)),
        like(imshow, "imshow"),
        like(imshow, "imshow_nearest", arguments=imshow.arguments | {"interpolation": "nearest"}),
        like(imshow, "imshow_bilinear", arguments=imshow.arguments | {"interpolation": "bilinear"}),
        like(imshow, "imshow_extent", arguments=extent),
        like(imshow, "imshow_large", size=(14, 10)),
        like(imshow, "imshow_2048", n_fft=2048),
        like(imshow, "imshow_magma_off", cmap="magma", off=True, bar=False, title=False, save=alone),
        like(imshow, "imshow_upper", arguments={"aspect": "auto"}, upside_down=True, given=("n_fft", "seconds", "upside_down")),
        gouraud,
        like(gouraud, "gouraud_2048", n_fft=2048),
        like(scipys, "scipy_db", given=both),
        like(scipys, "scipy_gouraud_db", how="gouraud", given=both),
        like(scipys, "scipy_doc", how="gouraud", scale="power", bar=False, title=False, given=(*both, "values")),
        like(scipys, "scipy_1024", n_fft=1024, hop=896, given=both),
        like(large, "ylim", axes={"ylim": (0, 4000)}, given=cut),
        like(large, "ylim_odd", axes={"ylim": (0, 3333)}, given=cut),
        like(large, "ylim_low", axes={"ylim": (200, 5000)}, given=cut),
        like(short, "ylim_short", axes={"ylim": (0, 4000)}, given=cut),
        like(large, "ylim_log", y_axis="log", axes={"ylim": (64, 4096)}, given=cut),
        like(large, "xlim", axes={"xlim": (1, 3)}),
        like(short, "xlim_short", axes={"xlim": (1.003, 2.71)}),
        like(large, "both_lim", axes={"xlim": (1, 3), "ylim": (0, 4000)}, given=cut),
        like(specgram, "specgram_ylim", axes={"ylim": (0, 4000)}, given=cut),
        like(large, "magnitude", scale="magnitude", given=("n_fft", "seconds", "values")),
        like(short, "magnitude_short", scale="magnitude", given=("n_fft", "seconds", "values")),
        like(short, "power_short", scale="power", given=("n_fft", "seconds", "values")),
        like(large, "top_60", top_db=60, given=("n_fft", "seconds", "range_db")),
        like(large, "top_100", top_db=100, given=("n_fft", "seconds", "range_db")),
        like(large, "top_none", top_db=None, given=("n_fft", "seconds", "range_db")),
        like(large, "vmin_60", arguments={"vmin": -60}, given=("n_fft", "seconds", "range_db")),
        like(large, "n_fft_400", n_fft=400),
        like(large, "n_fft_512", n_fft=512),
        like(large, "n_fft_1024", n_fft=1024),
        like(large, "n_fft_4096", n_fft=4096),
        like(large, "win_1024_of_2048", win=1024, hop=512, given=(*both, "win_length")),
        like(large, "hop_half", n_fft=1024, hop=512, given=both),
        like(large, "hop_eighth", n_fft=1024, hop=128, given=both),
        like(large, "hop_441", n_fft=1024, hop=441, given=both),
        *(like(short, f"jpeg_{quality}", after=(("jpeg", quality),)) for quality in (75, 90, 95)),
        *(like(large, f"jpeg_{quality}_large", after=(("jpeg", quality),)) for quality in (75, 95)),
        like(short, "jpeg_75_gray", cmap="gray", after=(("jpeg", 75),)),
        like(base, "jpeg_75_small", after=(("jpeg", 75),)),
        like(large, "grid", grid=True),
        like(short, "grid_short", grid=True),
        like(short, "palette", after=(("palette",),)),
        like(short, "palette_64", after=(("palette", 64),)),
        *(like(short, f"{way}_{scale}", after=(("resize", way, scale),)) for way, scale in (
            ("nearest", 0.5), ("nearest", 0.8), ("nearest", 1.5), ("bilinear", 0.5), ("bilinear", 1.5),
            ("lanczos", 0.8), ("lanczos", 1.5))),
        like(short, "screenshot", after=(("screenshot",),)),
        like(large, "screenshot_large", after=(("screenshot",),)),
        like(specgram, "screenshot_specgram", after=(("screenshot",),)),
        like(large, "dark", style="dark_background"),
        like(short, "ggplot", style="ggplot"),
        like(short, "seaborn", style="seaborn-v0_8"),
        like(large, "upside_down", axes={"ylim": (RATE / 2, 0)}, upside_down=True, given=("n_fft", "seconds", "upside_down")),
        like(large, "subplots", wave=True),
        like(short, "subplots_short", wave=True),
        like(mel, "mel_128"),
        like(mel, "mel_64", n_mels=64),
        like(mel, "mel_1024", n_fft=1024),
        like(mel, "mel_small", size=(10, 4)),
        like(mel, "mel_none", y_axis=None),
        like(mel, "mel_imshow", how="imshow", arguments=imshow.arguments),
        *(like(base, name, feature=name, size=(12, 8), y_axis=axis)
          for name, axis in (("cqt", "cqt_hz"), ("chroma", "chroma"), ("mfcc", None))),
        like(base, "cqt_gray", feature="cqt", y_axis="cqt_note", cmap="gray", off=True, bar=False, save=alone),
        sox,
        like(sox, "sox_mono", arguments=("-m",)),
        like(sox, "sox_raw", arguments=("-r",)),
        like(sox, "sox_light", arguments=("-l",)),
    ]  # fmt: skip


def recording(name: str, music: str | None = None) -> Any:
    """Waveform of 4 s."""
    rng, n = np.random.default_rng(0), 4 * RATE
    time = np.arange(n) / RATE

    def tone(hz: float, t: Any) -> Any:
        return sum(np.sin(2 * np.pi * hz * h * t) / h for h in range(1, 7)) * np.exp(-2 * t)

    if name == "music":
        y = librosa.load(music, sr=RATE, offset=1.0, duration=4.0)[0]
    elif name == "note":
        y = np.where(time < 2, tone(440, time) * np.clip((2 - time) / 0.05, 0, 1), 0)
    elif name == "bursts":
        y = rng.standard_normal(n) * (time % 1 < 0.2) * (1 + np.floor(time))
    elif name == "chords":
        held = [440 * 2 ** (step / 12) for step in (-21, -9, -5, -2, 2)]
        y = sum(np.sin(2 * np.pi * hz * h * time + hz) / h for hz in held for h in (1, 2, 3))
        y = y * np.sin(np.pi * time / 4) ** 0.5 + 1e-4 * rng.standard_normal(n)
    elif name == "speech":
        pulses = np.diff(np.floor(np.cumsum(120 + 20 * np.sin(2 * np.pi * time)) / RATE), prepend=0)
        y = 0
        for start, formants in enumerate(((700, 1200, 2500), (300, 2200, 3000), (500, 900, 2400), (400, 1900, 2600))):
            vowel = pulses * ((time >= start) & (time < start + 0.7))
            for hz in formants:
                vowel = scipy.signal.lfilter(*scipy.signal.iirpeak(hz, 8, RATE), vowel) + 0.1 * vowel
            y = y + vowel
        y = y + 1e-5 * rng.standard_normal(n)
    else:
        y = np.concatenate([tone(hz, time[: n // 4]) for hz in TONES])
    return (0.6 * y / np.abs(y).max() + NOISES.get(name, 0.0) * rng.standard_normal(n)).astype(np.float32)


def matrix(kind: Kind, y: Any) -> tuple[Any, Any, Any]:
    """Numbers that are drawn, frequencies of the rows in Hz and times of the columns in s."""
    win = kind.win or kind.n_fft
    hop = kind.hop or win // 4
    if kind.how == "specgram":
        power, hz, seconds = mpl.mlab.specgram(y, NFFT=kind.n_fft, Fs=RATE, noverlap=kind.n_fft - hop)
        return 10 * np.log10(power), hz, seconds
    if kind.feature == "scipy":
        hz, seconds, power = scipy.signal.spectrogram(y, RATE, nperseg=kind.n_fft, noverlap=kind.n_fft - hop)
        return power if kind.scale == "power" else 10 * np.log10(power + 1e-20), hz, seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stft = np.abs(librosa.stft(y, n_fft=kind.n_fft, hop_length=hop, win_length=win))
        hz = librosa.fft_frequencies(sr=RATE, n_fft=kind.n_fft)
        if kind.feature == "mel":
            power = librosa.feature.melspectrogram(S=stft**2, sr=RATE, n_mels=kind.n_mels)
            numbers = librosa.power_to_db(power, ref=np.max, top_db=kind.top_db)
            hz = librosa.mel_frequencies(kind.n_mels + 2, fmax=RATE / 2)[1:-1]
        elif kind.feature == "cqt":
            numbers = librosa.amplitude_to_db(np.abs(librosa.cqt(y, sr=RATE)), ref=np.max)
        elif kind.feature == "chroma":
            numbers = librosa.feature.chroma_stft(S=stft**2, sr=RATE)
        elif kind.feature == "mfcc":
            numbers = librosa.feature.mfcc(y=y, sr=RATE, n_mfcc=20)
        elif kind.scale != "db":
            numbers = stft if kind.scale == "magnitude" else stft**2
        else:
            numbers = librosa.amplitude_to_db(stft, ref=np.max, top_db=kind.top_db)
    return numbers, hz, np.arange(numbers.shape[1]) * hop / RATE


def draw(kind: Kind, y: Any, path: Path) -> Shown:
    """Draw a figure, and say what it shows."""
    win = kind.win or kind.n_fft
    hop = kind.hop or win // 4
    numbers, hz, seconds = matrix(kind, y)
    if kind.how == "sox":
        numbers = np.maximum(numbers, numbers.max() - 120)
        box = draw_by_sox(kind, y, path)
    else:
        box = draw_by_matplotlib(kind, y, numbers, hz, seconds, path)
    for name, *arguments in kind.after:
        box = changed(path, box, name, *arguments)
    level_db = numbers
    if kind.scale != "db":
        level_db = (20 if kind.scale == "magnitude" else 10) * np.log10(np.maximum(numbers, 1e-20))
    # Of 256 colours the lowest ones say nothing of the logarithm.
    steps = {"magnitude": 20 * np.log10(64), "power": 10 * np.log10(64)}
    range_db = -kind.arguments["vmin"] if "vmin" in kind.arguments else float(np.ptp(level_db))
    floor_db = float(level_db.max()) - steps.get(kind.scale, range_db)
    low, high = sorted(kind.axes.get("ylim", (0, RATE)))
    start, end = kind.axes.get("xlim", (-1, 9))
    rows, columns = np.arange(numbers.shape[0]), np.arange(numbers.shape[1])
    if kind.feature not in NO_SPECTROGRAMS:
        rows = np.flatnonzero((hz >= low) & (hz <= high))
        columns = np.flatnonzero((seconds >= start) & (seconds <= end))
        hz = hz[rows]
    level_db = level_db[rows][:, columns]
    # Of cells thinner than a pixel, those are shown in which the middle of a pixel lies.
    sides = (box[3] - box[1], box[2] - box[0])
    rows, columns = (np.unique(((np.arange(side) + 0.5) * n / side).astype(int).clip(0, n - 1))
                     for n, side in zip(level_db.shape, map(round, sides), strict=True))  # fmt: skip
    if kind.y_axis == "log":
        rows = np.flatnonzero(hz < sides[0] * hz[1] / 5.8)
    options = {
        "n_fft": kind.n_fft, "hop_length": hop, "win_length": win, "range_db": round(range_db, 2),
        "seconds": round(float(min(end, 4.0) - max(0, start)), 3), "colormap": kind.cmap or (
            "viridis" if kind.how != "specshow" else "magma"), "upside_down": kind.upside_down, "box": [round(x) for x in box],
        "values": kind.scale, "max_hz": min(high, RATE / 2), "min_hz": low, "sample_rate": RATE,
        "y_axis": "mel" if kind.feature == "mel" else "log" if kind.y_axis == "log" else "linear",
    } | ({"n_mels": kind.n_mels} if kind.feature == "mel" else {})  # fmt: skip
    return Shown(level_db, hz, rows, columns, floor_db, max(0.0, start), options)


def draw_by_matplotlib(kind: Kind, y: Any, numbers: Any, hz: Any, seconds: Any, path: Path) -> list[float]:
    """Box of the axes in pixels: left, top, right, bottom."""
    with plt.style.context(kind.style), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = plt.figure(figsize=kind.size, dpi=kind.dpi, frameon=not kind.fill)
        if kind.fill:
            axes = figure.add_axes((0, 0, 1, 1), frameon=False)
        elif kind.wave:
            above, axes = figure.subplots(2)
            above.plot(np.arange(len(y)) / RATE, y)
        else:
            axes = figure.add_subplot()
        colors = {"cmap": kind.cmap} if kind.cmap else {}
        if kind.how == "specshow":
            drawn = librosa.display.specshow(
                numbers, sr=RATE, n_fft=kind.n_fft, hop_length=kind.hop or (kind.win or kind.n_fft) // 4, ax=axes,
                x_axis=kind.x_axis, y_axis=kind.y_axis, **colors, **kind.arguments)  # fmt: skip
        elif kind.how == "specgram":
            drawn = axes.specgram(y, NFFT=kind.n_fft, Fs=RATE, noverlap=kind.n_fft - kind.hop, **colors)[3]
        elif kind.how == "imshow":
            drawn = axes.imshow(numbers, **colors, **kind.arguments)
        else:
            shading = {"shading": "gouraud"} if kind.how == "gouraud" else {}
            drawn = axes.pcolormesh(seconds, hz, numbers, **colors, **shading)
        axes.set(**kind.axes)
        if kind.off:
            axes.axis("off")
        elif kind.how != "specshow":
            axes.set(xlabel="Time [s]", ylabel="Frequency [Hz]")
        if kind.grid:
            axes.grid(True)
        if kind.title:
            axes.set_title("Spectrogram")
        if kind.bar:
            figure.colorbar(drawn, ax=axes, format="%+2.0f dB" if kind.scale == "db" else None)
        if kind.tight_layout:
            figure.tight_layout()
        figure.canvas.draw()
        left, bottom, height = 0.0, 0.0, figure.bbox.height
        if kind.save.get("bbox_inches") == "tight":
            around = figure.get_tightbbox().padded(kind.save.get("pad_inches", 0.1))
            left, bottom, height = (kind.dpi * side for side in (around.x0, around.y0, around.height))
        if kind.wave and not kind.bar:
            figure.tight_layout()
        figure.savefig(path, **{"dpi": kind.dpi} | kind.save)
        box = axes.bbox
        found = [box.x0 - left, height - (box.y1 - bottom), box.x1 - left, height - (box.y0 - bottom)]
        plt.close(figure)
    return [max(0.0, side) for side in found]


def draw_by_sox(kind: Kind, y: Any, path: Path) -> list[float]:
    """Box of the spectrogram in pixels, as SoX 14 lays it out."""
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder, "a.wav")
        soundfile.write(wave, y, RATE)
        command = ["sox", str(wave), "-n", "spectrogram", *kind.arguments, "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    with Image.open(path) as image:
        width, height = image.size
    return [0, 0, width, height] if "-r" in kind.arguments else [58, 30, width - 86, height - 48]


def changed(path: Path, box: list[float], how: str, *arguments: Any) -> list[float]:
    """Change a picture and the box in it: jpeg QUALITY, palette [COLORS], resize FILTER FACTOR, screenshot."""
    image = Image.open(path).convert("RGB")
    if how == "jpeg":
        # The name stays, as it is by their beginning that pictures are told from each other.
        image.save(path, format="JPEG", quality=arguments[0])
        return box
    if how == "palette":
        image = image.quantize(*arguments) if arguments else image.convert("P", palette=Image.Palette.ADAPTIVE)
    elif how == "resize":
        way, factor = arguments
        size = round(image.width * factor), round(image.height * factor)
        image = image.resize(size, Image.Resampling[way.upper()])
        box = [side * factor for side in box]
    elif how == "screenshot":
        page = Image.new("RGB", (image.width + 160, image.height + 220), (246, 247, 249))
        page.paste((60, 64, 72), (0, 0, page.width, 48))
        page.paste((200, 204, 210), (0, 48, page.width, 80))
        page.paste((180, 180, 190), (78, 118, 82 + image.width, 122 + image.height))
        page.paste(image, (80, 120))
        image, box = page, [side + offset for side, offset in zip(box, (80, 120, 80, 120), strict=True)]
    image.save(path, format="PNG")
    return box


@dataclass(frozen=True)
class Reading:
    """What came out of a figure: its class, in words, and what was said."""

    verdict: str
    what: str
    said: str
    table: str


def read(path: Path, kind: Kind, shown: Shown, given: set[str], sounds: str) -> Reading:
    """Read a figure with options of true values."""
    options = {name: shown.options[name] for name in sorted(given & KNOWN & set(shown.options))}
    if "box" in options:
        options["box"] = tuple(options["box"])
    try:
        figure = read_figure(path, FigureOptions(**options))
    except InputError as error:
        message = str(error).removeprefix(f"{path}: ")
        return Reading("RIGHT" if kind.feature in NO_SPECTROGRAMS else "REFUSED", message, message, "")
    except Exception as error:  # A fault of the reader's is a result like others.
        return Reading("CRASHED", repr(error), "", "")
    found = {finding.name: finding for finding in figure.findings}
    unsure = [each for each in figure.findings if each.confidence is not None and each.confidence < LOW_CONFIDENCE]
    said = " | ".join([*figure.warnings, *(f"unsure of {each.name} {each.value}" for each in unsure)])
    faults, what = (
        (["cells"], "read though it is none") if kind.feature in NO_SPECTROGRAMS else judged(figure, kind, shown, given, sounds)
    )
    names = " ".join(f"{name} {found[name].value}," for name in ("colormap", "y_axis", "n_fft", "frames", "n_mels") if name in found)
    what = f"{'/'.join(faults)}: {what}; {names.rstrip(',')}" if faults else what
    # Warnings name options by words, findings by their names.
    pointed = all(re.search(WORDS[fault], said.replace("unsure of frames", "unsure of columns")) for fault in faults)
    verdict = "RIGHT" if not faults else "POINTED" if pointed else "MISLED" if said else "SILENT"
    return Reading(verdict, what, said, figure.table())


def judged(figure: Any, kind: Kind, shown: Shown, given: set[str], sounds: str) -> tuple[list[str], str]:
    """Faults of a reading, and its numbers."""
    read_db, settings = figure.relative_db, figure.settings
    n_rows, n_columns = read_db.shape
    hz = np.arange(n_rows) * settings.sample_rate / settings.n_fft
    if figure.mel is not None:
        hz = librosa.mel_frequencies(n_rows + 2, fmin=figure.mel.min_hz, fmax=figure.mel.max_hz)[1:-1]
    rows = np.abs(hz[None, :] - shown.hz[shown.rows, None]).argmin(axis=1)
    true_db = shown.level_db[shown.rows][:, shown.columns]
    loud = true_db > shown.floor_db + 3
    rank, error, scale = -2.0, 0.0, 1.0
    # A cut may leave a part of a column, and whether it is read is the reader's choice.
    for shift in (0, -1, 1):
        places = shown.columns / (shown.level_db.shape[1] - 1) * (n_columns - 1)
        columns = np.rint(places + shift).astype(int).clip(0, n_columns - 1)
        levels = read_db[rows][:, columns][loud]
        found = float(scipy.stats.spearmanr(levels, true_db[loud])[0]) if np.ptp(levels) > 0 else 0.0
        if found > rank:
            spreads = [np.subtract(*np.percentile(each, (90, 10))) for each in (levels, true_db[loud])]
            rank, scale = found, float(spreads[0] / spreads[1])
            difference = levels / (1 if kind.scale != "db" or "range_db" in given else scale) - true_db[loud]
            error = float(np.median(np.abs(difference - np.median(difference))))
    faults, notes = [], [f"rank {rank:.2f}, error {error:.1f} dB"]
    if abs(scale - 1) > 0.05:
        notes.append(f"range x {scale:.2f}")
    if rank < -0.2:
        faults.append("orientation")
    else:
        ratio, peaks, true_peaks = pitches(read_db, hz, shown, sounds)
        if ratio is not None and abs(ratio - 1) > 0.005:
            faults.append("pitch")
            heard = ", ".join(f"{true:.0f} is {peak:.0f}" for true, peak in zip(true_peaks, peaks, strict=True))
            notes.append(f"pitch x {ratio:.3f} ({heard} Hz)")
    seconds, true_seconds = settings.n_samples(n_columns) / settings.sample_rate, shown.options["seconds"]
    if abs(seconds - true_seconds) > max(0.02 * true_seconds, shown.options["hop_length"] / RATE / 2):
        faults.append("length")
        notes.append(f"{seconds:.2f} s for {true_seconds:.2f}")
    is_coarse = kind.is_smooth or len(shown.rows) < len(shown.level_db) or len(shown.columns) < shown.level_db.shape[1]
    if not faults and rank < 0.9:
        faults.append("cells")
    if not faults and error > (4 if is_coarse else 3 if kind.is_lossy else 1):
        faults.append("levels")
    return faults, ", ".join(notes)


def pitches(read_db: Any, hz: Any, shown: Shown, sounds: str) -> tuple[float | None, list[float], list[float]]:
    """Median ratio of the partials' frequencies to those drawn, and the strongest frequency of each tone, in Hz."""
    tones = {"note": TONES[:1]}.get(sounds, TONES if sounds in NOISES else ())
    ratios, peaks, true_peaks = [], [], []
    for index, tone in enumerate(tones):
        begin, end = (np.array((index + 0.1, index + 0.6)) - shown.start) / shown.options["seconds"]
        profiles = []
        for level_db in (read_db, shown.level_db):
            first, last = (int(level_db.shape[1] * place) for place in (begin, end))
            if first < 0 or last > level_db.shape[1] or last - first < 1:
                break
            profiles.append(level_db[:, first:last].mean(axis=1))
        else:
            true_peaks.append(peak_hz(profiles[1], shown.hz, 50, RATE))
            peaks.append(peak_hz(profiles[0], hz, 50, RATE))
            for partial in range(1, 7):
                middle = tone * partial
                width = max(0.04 * middle, 1.5 * np.interp(middle, shown.hz[1:], np.diff(shown.hz)))
                # The partials of a tone have to lie apart, and within what is shown.
                if 2 * width < tone and shown.hz[1] < middle - width and middle + width < shown.hz[-1]:
                    places = (middle - width, middle + width)
                    ratios.append(peak_hz(profiles[0], hz, *places) / peak_hz(profiles[1], shown.hz, *places))
    # A picture of other pitches has something or other everywhere.
    if peaks and np.median(np.abs(np.log2(np.array(peaks) / true_peaks))) > 0.3:
        ratios = list(np.array(peaks) / true_peaks)
    return (float(np.median(ratios)) if ratios else None), peaks, true_peaks


def peak_hz(profile: Any, hz: Any, low: float, high: float) -> float:
    """Frequency of the strongest place in a range, by a parabola through three rows."""
    among = np.flatnonzero((hz >= low) & (hz <= high))
    if not len(among):
        return low
    k = int(among[profile[among].argmax()])
    if 0 < k < len(profile) - 1:
        left, middle, right = profile[k - 1 : k + 2]
        bend = left - 2 * middle + right
        return float(np.interp(k + (0.5 * (left - right) / bend if bend < 0 else 0.0), np.arange(len(hz)), hz))
    return float(hz[k])


def advised(path: Path, kind: Kind, shown: Shown, given: set[str], first: Reading, sounds: str) -> str:
    """What comes of giving the options that a message names."""
    given, reading, verdict = set(given), first, ""
    for step in (1, 2):
        named = set(re.findall(r"--(\w+)", reading.said)) & set(shown.options)
        left_out = set(re.findall(r"leave --(\w+) out", reading.said)) & given
        new = (given | named - left_out - given) - left_out
        if new == given or left_out:
            return verdict or ("circle" if named | left_out else "none")
        given = new
        reading = read(path, kind, shown, given, sounds)
        verdict = f"{reading.verdict.lower()} by {' '.join(sorted(given))}"
        if reading.verdict == "RIGHT":
            return f"{verdict} ({step})"
    return verdict


def drawing_of(kind: Kind, sounds: str, music: str | None, folder: Path) -> tuple[Path, Shown]:
    """A figure and what it shows, drawn if it is not there."""
    code = "".join(inspect.getsource(each) for each in (recording, matrix, draw, draw_by_matplotlib, draw_by_sox, changed))
    key = hashlib.sha256(f"{kind}{sounds}{music}{code}".encode()).hexdigest()[:12]
    path = folder / f"{kind.name}_{sounds}_{key}.png"
    truth = path.with_suffix(".npz")
    if not truth.exists():
        shown = draw(kind, recording(sounds, music), path)
        np.savez(truth, **{name: json.dumps(value) if name == "options" else value for name, value in vars(shown).items()})
    with np.load(truth) as arrays:
        values = dict(arrays)
    values["options"] = json.loads(str(values["options"]))
    return path, Shown(**values | {"floor_db": float(values["floor_db"]), "start": float(values["start"])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder that keeps the figures")
    parser.add_argument("--only", default="*", help="names of kinds, e.g. 'jpeg*'")
    parser.add_argument("--recording", nargs="+", default=["noisy", "clean"], help=f"{', '.join(SOUNDS)} or all")
    parser.add_argument("--music", help="sound file of the recording named music")
    parser.add_argument("--verbose", action="store_true", help="print what was found and said")
    arguments = parser.parse_args()
    sounds = list(SOUNDS) if "all" in arguments.recording else arguments.recording
    cache = arguments.cache or Path(tempfile.mkdtemp())
    cache.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Counter[str]] = {}
    for sound in sounds:
        for kind in kinds():
            if not fnmatch.fnmatch(kind.name, arguments.only) or (kind.how == "sox" and not shutil.which("sox")):
                continue
            if sound == "music" and not (arguments.music and Path(arguments.music).exists()):
                continue
            path, shown = drawing_of(kind, sound, arguments.music, cache)
            for way, given in (("a", set()), ("b", set(kind.given))):
                reading = read(path, kind, shown, given, sound)
                line = f"{sound:8}{kind.name:20}{way} {reading.verdict:8}{reading.what}"
                if reading.verdict in ("REFUSED", "POINTED"):
                    line += f" [advice: {advised(path, kind, shown, given, reading, sound)}]"
                print(line, flush=True)
                if arguments.verbose:
                    print(f"{path}\n{reading.table}\n! {reading.said}\n")
                elif reading.verdict in ("POINTED", "MISLED"):
                    print(f"{'':31}! {reading.said}")
                counts.setdefault(f"{sound} {way}", Counter())[reading.verdict] += 1
    for name, count in counts.items():
        print(f"{name:10}", ", ".join(f"{verdict} {count[verdict]}" for verdict in VERDICTS), f"of {count.total()}")
    if arguments.cache is None:
        shutil.rmtree(cache)


if __name__ == "__main__":
    main()
