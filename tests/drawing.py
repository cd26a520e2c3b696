"""Pictures of spectrograms as people draw them with matplotlib and librosa, and where their axes are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import librosa.display
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

RATE = 22050
Levels = NDArray[np.float64]


def waveform(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Three decaying notes with overtones and vibrato over faint noise, loudest below 5 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_samples) / RATE
    sound = np.zeros(n_samples)
    for frequency in rng.uniform(100, 1500, 3):
        for overtone in range(1, 8):
            sound += 0.1 / overtone * np.sin(2 * np.pi * overtone * frequency * (1 + 0.1 * np.sin(5 * time)) * time)
    envelope = np.exp(-20 * (time % (n_samples / RATE / 3.3)))
    return (envelope * sound + 1e-4 * rng.standard_normal(n_samples)).astype(np.float32)


def levels(n_fft: int = 256, n_frames: int = 100, seed: int = 0) -> Levels:
    """Levels in dB below the loudest cell, at least -80, shape (n_fft // 2 + 1, n_frames), hop n_fft // 4."""
    stft = librosa.stft(waveform((n_frames - 1) * (n_fft // 4), seed), n_fft=n_fft, hop_length=n_fft // 4)
    return librosa.amplitude_to_db(np.abs(stft), ref=np.max)


def mel_levels(n_mels: int, n_frames: int = 60, n_fft: int = 1024, seed: int = 0) -> Levels:
    """Levels of a mel spectrogram in dB below the loudest cell, at least -80, shape (n_mels, n_frames)."""
    sound = waveform((n_frames - 1) * (n_fft // 4), seed)
    power = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=n_fft, hop_length=n_fft // 4, n_mels=n_mels)
    return librosa.power_to_db(power, ref=np.max)


def mesh(axes: Axes, level_db: Levels, layout: str, cmap: str | None, y_axis: str) -> Any:
    """Draw as librosa does ("new"), or as its versions up to 0.8 did ("old", linear axes only)."""
    n_rows, n_frames = level_db.shape
    hop_length = (n_rows - 1) // 2 if y_axis != "mel" else 256
    if layout == "new":
        colours = {} if cmap is None else {"cmap": cmap}
        return librosa.display.specshow(
            level_db, sr=RATE, hop_length=hop_length, x_axis="time", y_axis=y_axis, ax=axes, **colours
        )
    # librosa.display 0.8: the edges of a row lie half a row below it, those of the lowest and the highest at 0 Hz and
    # at half the rate; frame i fills the time from i to i + 1.
    frequencies = np.fft.rfftfreq(2 * (n_rows - 1), 1 / RATE)
    highest = frequencies[-1]
    edges = np.append(np.maximum(0, frequencies - 0.5 * frequencies[1]), [highest])
    times = np.arange(n_frames + 1) * hop_length / RATE
    drawn = axes.pcolormesh(times, edges, level_db, cmap=cmap, rasterized=True, edgecolors="None", shading="flat")
    axes.set(xlim=(times[0], times[-1]), ylim=(edges[0], highest))
    return drawn


def full_bleed(
    path: Path,
    level_db: Levels,
    size: tuple[int, int],
    layout: str = "new",
    cmap: str = "gray",
    y_axis: str = "hz",
    quality: int = 100,
) -> None:
    """The recipe of the user's pictures at another size: axes that fill the picture."""
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, frameon=False)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.axis("off")
    mesh(axes, level_db, layout, cmap, y_axis)
    figure.savefig(path, pad_inches=0, pil_kwargs={"quality": quality} if path.suffix == ".jpg" else {})


def tutorial(
    path: Path,
    level_db: Levels,
    size: tuple[float, float] = (6, 5),
    layout: str = "new",
    cmap: str | None = "viridis",
    y_axis: str = "hz",
    style: str = "default",
    dpi: int = 100,
    bar: bool = True,
    tight: bool = True,
    quality: int = 100,
    change: Callable[[Figure, Axes], object] | None = None,
) -> tuple[float, float, float, float]:
    """Axes with ticks, labels, a title and a colour bar, as in every tutorial.

    Args:
        path: The file to write.
        level_db: What is drawn.
        size: In inches.
        layout: As `mesh` draws.
        cmap: matplotlib's name; None for librosa's choice.
        y_axis: librosa's name.
        style: matplotlib's style sheet.
        dpi: Pixels per inch.
        bar: Whether there is a colour bar.
        tight: Whether the margins are cut off as far as nothing is in them.
        quality: Of a JPEG.
        change: Changes the figure before it is saved.

    Returns:
        Left, top, right and bottom of the axes in pixels.
    """
    with matplotlib.style.context(style):
        figure = Figure(figsize=size, dpi=dpi)
        axes = figure.add_subplot()
        drawn = mesh(axes, level_db, layout, cmap, y_axis)
        axes.set_title("Spectrogram")
        if bar:
            figure.colorbar(drawn, ax=axes, format="%+2.0f dB")
        if change is not None:
            change(figure, axes)
        margin = (0.0, 0.0)
        figure.canvas.draw()
        if tight:
            around = figure.get_tightbbox().padded(0.1)
            margin = (around.x0 * dpi, around.y0 * dpi)
        figure.savefig(
            path,
            dpi=dpi,
            bbox_inches="tight" if tight else None,
            pil_kwargs={"quality": quality} if path.suffix == ".jpg" else {},
        )
    with Image.open(path) as image:
        height = image.height
    box = axes.bbox
    return box.x0 - margin[0], height - box.y1 + margin[1], box.x1 - margin[0], height - box.y0 + margin[1]


def errors_db(relative_db: NDArray[np.float32], level_db: Levels) -> tuple[float, float, float]:
    """What was lost of a spectrogram: rms and maximum of the error in dB, and spectral convergence in dB."""
    error = relative_db - level_db
    magnitude, original = 10 ** (relative_db / 20), 10 ** (level_db / 20)
    convergence = np.linalg.norm(magnitude - original) / np.linalg.norm(original)
    return float(np.sqrt(np.mean(error**2))), float(np.abs(error).max()), float(20 * np.log10(convergence))
