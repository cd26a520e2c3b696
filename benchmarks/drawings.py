"""Ordinary figures of spectrograms of known recordings, and what they show."""

import hashlib
import inspect
import json
import subprocess
import tempfile
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import librosa
import librosa.display
import numpy as np
import scipy.signal
import soundfile
from matplotlib import pyplot as plt
from PIL import Image

RATE = 22050
TONES = (440.0, 660.0, 880.0, 550.0)
# Amplitudes of noise under the tones.
NOISES = {"clean": 1e-6, "near": 1e-4, "noisy": 1e-3, "noisier": 1e-2}
SOUNDS = (*NOISES, "note", "bursts", "speech", "chords", "music")
NO_SPECTROGRAMS = ("cqt", "chroma", "mfcc")


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
    large = replace(base, size=(12, 8))
    short = replace(base, n_fft=512, size=(12, 8))
    alone = {"bbox_inches": "tight", "pad_inches": 0}
    specgram = Kind("specgram", "specgram", n_fft=256, hop=128, top_db=None, size=(10, 6))
    imshow = Kind("imshow", "imshow", n_fft=512, arguments={"aspect": "auto", "origin": "lower"})
    extent = {"aspect": "auto", "origin": "lower", "extent": [0, 4, 0, RATE / 2]}
    gouraud = Kind("gouraud", "gouraud", n_fft=512, size=(12, 8))
    both = ("n_fft", "hop_length", "seconds")
    linear = ("n_fft", "seconds", "values")
    scipys = Kind("scipy", "pcolormesh", feature="scipy", n_fft=256, hop=224, top_db=None, size=(12, 8))
    mel = replace(base, feature="mel", y_axis="mel", size=(12, 8), given=("y_axis", "n_mels", "n_fft", "seconds"))
    recipe = Kind("recipe", cmap="gray", size=(20, 20), dpi=50, bar=False, title=False, off=True, fill=True)
    turned = ("n_fft", "seconds", "upside_down")
    cut = ("n_fft", "seconds", "min_hz", "max_hz", "y_axis")
    sox = Kind("sox", "sox", n_fft=1024, hop=RATE // 200, top_db=120, arguments=(), given=(*both, "range_db"))

    def like(kind: Kind, name: str, **changes: Any) -> Kind:
        return replace(kind, name=name, **changes)

    return [
        base,
        *(like(base, f"specshow_{size[0]}x{size[1]}_{dpi}", size=size, dpi=dpi)
          for size, dpi in (((6, 4), 72), ((6, 4), 100), ((10, 4), 150), ((12, 8), 150), ((14, 5), 300))),
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
        like(imshow, "imshow_upper", arguments={"aspect": "auto"}, upside_down=True, given=turned),
        gouraud,
        like(gouraud, "gouraud_2048", n_fft=2048),
        like(scipys, "scipy_db"),
        like(scipys, "scipy_gouraud_db", how="gouraud"),
        like(scipys, "scipy_doc", how="gouraud", scale="power", bar=False, title=False, given=linear),
        like(scipys, "scipy_1024", n_fft=1024, hop=896),
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
        like(large, "upside_down", axes={"ylim": (RATE / 2, 0)}, upside_down=True, given=turned),
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
    if kind.how == "sox":
        # Measured with SoX 14.4.2: windows are Hann's, and 40 samples early.
        starts = np.arange(800) * len(y) // 800 - 40 - kind.n_fft // 2
        windows = y[(starts[:, None] + np.arange(kind.n_fft)).clip(0, len(y) - 1)] * np.hanning(kind.n_fft)
        level_db = librosa.amplitude_to_db(np.abs(np.fft.rfft(windows)).T, ref=np.max, amin=1e-9, top_db=120)
        return level_db, librosa.fft_frequencies(sr=RATE, n_fft=kind.n_fft), np.arange(800) * 4 / 800
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
    box = draw_by_sox(kind, y, path) if kind.how == "sox" else draw_by_matplotlib(kind, y, numbers, hz, seconds, path)
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
        "sample_rate": RATE,
        "n_fft": kind.n_fft,
        "hop_length": hop,
        "win_length": win,
        "seconds": round(min(end, 4.0) - max(0, start), 3),
        "y_axis": "mel" if kind.feature == "mel" else "log" if kind.y_axis == "log" else "linear",
        "min_hz": low,
        "max_hz": min(high, RATE / 2),
        "values": kind.scale,
        "upside_down": kind.upside_down,
        "box": [round(side) for side in box],
    }
    if kind.feature == "mel":
        options["n_mels"] = kind.n_mels
    if kind.scale == "db":
        options["range_db"] = round(range_db, 2)
    if kind.how != "sox":
        options["colormap"] = kind.cmap or ("magma" if kind.how == "specshow" else "viridis")
    return Shown(level_db, hz, rows, columns, floor_db, max(0.0, start), options)


def mesh(kind: Kind, axes: Any, y: Any, numbers: Any, hz: Any, seconds: Any) -> Any:
    """What is drawn on the axes."""
    colors = {"cmap": kind.cmap} if kind.cmap else {}
    if kind.how == "specgram":
        return axes.specgram(y, NFFT=kind.n_fft, Fs=RATE, noverlap=kind.n_fft - kind.hop, **colors)[3]
    if kind.how == "imshow":
        return axes.imshow(numbers, **colors, **kind.arguments)
    if kind.how != "specshow":
        shading = {"shading": "gouraud"} if kind.how == "gouraud" else {}
        return axes.pcolormesh(seconds, hz, numbers, **colors, **shading)
    return librosa.display.specshow(
        numbers,
        sr=RATE,
        n_fft=kind.n_fft,
        hop_length=kind.hop or (kind.win or kind.n_fft) // 4,
        x_axis=kind.x_axis,
        y_axis=kind.y_axis,
        ax=axes,
        **colors,
        **kind.arguments,
    )


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
        drawn = mesh(kind, axes, y, numbers, hz, seconds)
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
        figure.savefig(path, format="png", dpi=kind.dpi, **kind.save)
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


def drawing_of(kind: Kind, sounds: str, music: str | None, folder: Path) -> tuple[Path, Shown]:
    """A figure and what it shows, drawn if it is not there."""
    code = "".join(
        inspect.getsource(each) for each in (recording, matrix, draw, mesh, draw_by_matplotlib, draw_by_sox, changed)
    )
    key = hashlib.sha256(f"{kind}{sounds}{music}{code}".encode()).hexdigest()[:12]
    path = folder / f"{kind.name}_{sounds}_{key}{'.jpg' if kind.is_lossy else '.png'}"
    truth = path.with_suffix(".npz")
    if not truth.exists():
        shown = draw(kind, recording(sounds, music), path)
        np.savez(
            truth, **{name: json.dumps(value) if name == "options" else value for name, value in vars(shown).items()}
        )
    with np.load(truth) as arrays:
        values = dict(arrays)
    values["options"] = json.loads(str(values["options"]))
    return path, Shown(**values | {"floor_db": float(values["floor_db"]), "start": float(values["start"])})
