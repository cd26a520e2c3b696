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

Right means, at the cells that the figure shows more than 3 dB above its floor: a rank correlation with the drawn levels
of at least 0.9 (0.7 where cells are smooth or thinner than a pixel), a median error of at most 1 dB (JPEG 3, smooth or
thin 4), partials of the tones within 0.5 % of their places in what was drawn, and a length within 2 % or half a hop.
The level is free; so is the range in dB where --range_db was not given, as no picture shows it.
"""

import argparse
import fnmatch
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from drawings import NO_SPECTROGRAMS, NOISES, RATE, SOUNDS, TONES, Kind, Shown, drawing_of, kinds
from librosa import mel_frequencies

from gan.errors import InputError
from gan.sound.figure.figure import Figure
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import read_figure

VERDICTS = ("RIGHT", "POINTED", "MISLED", "SILENT", "REFUSED", "CRASHED")
LOW_CONFIDENCE = 0.8
# Words of warnings and names of findings that point to a fault, by the option that is right once it is given.
WORDS = {
    "reversed": {"colormap": "colormap|_r\\b|black or white|loud and quiet"},
    "upside down": {"upside_down": "upside_down"},
    "pitch": {"n_fft": "n_fft|rows|frequenc", "y_axis": "y_axis|mel", "": "max_hz|min_hz|--box|half a pixel|n_mels"},
    "length": {"seconds": "seconds|hop_length|columns|length", "": "--box"},
    "levels": {"range_db": "range_db", "values": "values", "": "colou?rs|dB|too thin|smooth"},
    "cells": {"n_fft": "n_fft|rows", "seconds": "seconds|columns", "": "too thin|half a pixel|smooth|--box"},
}
KNOWN = {each.name for each in fields(FigureOptions)}


@dataclass(frozen=True)
class Reading:
    """What came out of a figure: its class, in words, and what was said."""

    verdict: str
    what: str
    said: str
    table: str


@lru_cache(maxsize=16)
def outcome(path: Path, options: tuple[tuple[str, Any], ...]) -> Figure | Exception:
    """The figure that is read, or what is raised: a fault of the reader's is a result like others."""
    try:
        return read_figure(path, FigureOptions(**dict(options)))
    except Exception as error:
        return error


def read(path: Path, kind: Kind, shown: Shown, given: set[str], sounds: str) -> Reading:
    """Read a figure with options of true values."""
    options = {name: shown.options[name] for name in sorted(given & KNOWN & set(shown.options))}
    if "box" in options:
        options["box"] = tuple(options["box"])
    figure = outcome(path, tuple(options.items()))
    if isinstance(figure, InputError):
        message = str(figure).removeprefix(f"{path}: ")
        return Reading("RIGHT" if kind.feature in NO_SPECTROGRAMS else "REFUSED", message, message, "")
    if isinstance(figure, Exception):
        return Reading("CRASHED", repr(figure), "", "")
    found = {finding.name: finding for finding in figure.findings}
    unsure = [each for each in figure.findings if each.confidence is not None and each.confidence < LOW_CONFIDENCE]
    names = {"frames": "columns", "box": "--box"}
    said = " | ".join(
        [*figure.warnings, *(f"unsure of {names.get(each.name, each.name)} {each.value}" for each in unsure)]
    )
    faults, what = (
        (["cells"], "read though it is none")
        if kind.feature in NO_SPECTROGRAMS
        else judged(figure, kind, shown, given, sounds)
    )
    names = " ".join(
        f"{name} {found[name].value}," for name in ("colormap", "y_axis", "n_fft", "frames", "n_mels") if name in found
    )
    what = f"{'/'.join(faults)}: {what}; {names.rstrip(',')}" if faults else what
    # Warnings name options by words, findings by their names.
    pointed = all(re.search(words_of(fault, given), said) for fault in faults)
    verdict = "RIGHT" if not faults else "POINTED" if pointed else "MISLED" if said else "SILENT"
    return Reading(verdict, what, said, figure.table())


def words_of(fault: str, given: set[str]) -> str:
    """Pattern of what points to a fault: options that were given with their true values are none."""
    return "|".join(words for option, words in WORDS[fault].items() if option not in given)


def judged(figure: Figure, kind: Kind, shown: Shown, given: set[str], sounds: str) -> tuple[list[str], str]:
    """Faults of a reading, and its numbers."""
    read_db, settings = figure.relative_db, figure.settings
    n_rows, n_columns = read_db.shape
    hz = np.arange(n_rows) * settings.sample_rate / settings.n_fft
    if figure.mel is not None:
        hz = mel_frequencies(n_rows + 2, fmin=figure.mel.min_hz, fmax=figure.mel.max_hz)[1:-1]
    rows = np.abs(hz[None, :] - shown.hz[shown.rows, None]).argmin(axis=1)
    true_db = shown.level_db[shown.rows][:, shown.columns]
    loud = true_db > shown.floor_db + 3
    rank, error, scale = -2.0, 0.0, 1.0
    # A cut may leave a part of a column, and whether it is read is the reader's choice.
    for shift in (0, -1, 1):
        n_shown = shown.level_db.shape[1]
        stretch = 1 if abs(n_columns - n_shown) <= 1 else (n_columns - 1) / (n_shown - 1)
        places = shown.columns * stretch
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
    turned = float(scipy.stats.spearmanr(read_db[::-1][rows][:, columns][loud], true_db[loud])[0])
    if rank < -0.2:
        faults.append("reversed")
    elif turned > max(0.7, rank):
        faults.append("upside down")
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
    # A row of a pixel or less may be its neighbour, which in noise has another level.
    if not faults and rank < (0.7 if is_coarse else 0.9):
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
        if middle > max(left, right):
            offset = 0.5 * (left - right) / (left - 2 * middle + right)
            return float(np.interp(k + offset, np.arange(len(hz)), hz))
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
