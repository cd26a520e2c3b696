"""Curves as drawings (SVG) whose colours are the page's, with legends in which a script writes values."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from gan.listen.curves import Curve

# In the units of the drawing, which are pixels where it is shown as wide as it is.
WIDTH, HEIGHT = 340, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 8, 34
# More points than that are averaged, fewer than these are shown one by one.
_MOST_POINTS, _FEW_POINTS = 240, 30
# Largest over smallest value above which a linear scale shows nothing of the small ones.
_LOG_RATIO = 20.0
# The same above which tens are enough to read it by.
_MANY_DECADES = 1e3
# Classes of colours and dashes in the page's style.
N_COLOURS, _N_DASHES = 6, 3

_TOGETHER = {
    "loss": ("loss/generator", "loss/discriminator"),
    "logits": ("logits/real", "logits/fake", "logits/validation"),
}
_NOT_SHOWN = {"epoch", "hp_metric"}
_DEVIATION = "_deviation"
_BETTER = {
    "frechet": "lower is nearer to the training sounds",
    "kernel": "lower is nearer to the training sounds",
    "density": "1 is as real sounds are",
    "coverage": "higher is more of the variety",
    "precision": "higher is more like real sounds",
    "recall": "higher is more of the variety",
    "different_bins": "lower is nearer to the training sounds",
    "inception": "higher is clearer and more varied",
    "accuracy": "higher is better",
    "copy_rate": "0.05 is as held-out recordings",
}


class Line(NamedTuple):
    """A curve of a chart.

    Attributes:
        name: What it is, for the legend.
        run: Number of the run.
        points: Shape (n, 2), batches seen and value, in order.
        deviations: How far each value spreads; None if that is not known.
    """

    name: str
    run: int
    points: list[tuple[float, float]]
    deviations: list[float] | None = None


class Charts(NamedTuple):
    """Charts and what a script has to know of them.

    Attributes:
        html: <figure>s.
        lines: Of each chart and each line in its legend: run, points, deviations.
        batches: Where the x axes begin and end.
    """

    html: str
    lines: list[list[dict[str, Any]]]
    batches: tuple[int, int]


class Axis:
    """Values to places: linear, or logarithmic where values are above 0 and far apart.

    Args:
        values: What is to be shown.
        start: Place of the least.
        end: Place of the largest.
        may_log: Whether it may be logarithmic.
    """

    def __init__(self, values: Sequence[float], start: float, end: float, may_log: bool = True) -> None:
        from matplotlib.ticker import LogLocator, MaxNLocator

        low, high = min(values), max(values)
        self.log = may_log and low > 0 and high / low >= _LOG_RATIO
        if low == high:
            low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
        between = [1.0] if high >= _MANY_DECADES * low else [1.0, 2.0, 5.0]
        locator = LogLocator(subs=between, numticks=6) if self.log else MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
        ticks = locator.tick_values(low, high)
        self._low, self._high = self._scaled(low), self._scaled(high)
        self._start, self._end = start, end
        self.ticks = [float(tick) for tick in ticks if low <= tick <= high]
        if len(self.ticks) < 2:
            self.ticks = [low, high]

    def place(self, value: float) -> float:
        """Where a value is."""
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


def draw_charts(runs: Sequence[str], curves: Sequence[Mapping[str, Curve]], last_batch: int) -> Charts:
    """Draw all curves of some runs: those of one kind in one chart, the same of all runs in one chart.

    Args:
        runs: Their names.
        curves: Of each run, by tag.
        last_batch: What the x axes have to reach at least.
    """
    tags = [tag for tag in dict.fromkeys(tag for each in curves for tag in each) if tag not in _NOT_SHOWN]
    together = {tag: name for name, group in _TOGETHER.items() for tag in group}
    groups: dict[str, list[str]] = {name: [] for name in _TOGETHER}
    for tag in tags:
        if not tag.endswith(_DEVIATION):
            groups.setdefault(together.get(tag, tag.removeprefix("metric/")), []).append(tag)
    # In the order of the group rather than of whatever was logged first.
    for name, order in _TOGETHER.items():
        groups[name].sort(key=order.index)
    batches = (0, max([last_batch, *(batch for each in curves for tag in tags for batch in each.get(tag, ()))]))
    drawn, told = [], []
    for name, group in groups.items():
        lines = [_line(tag, number, each) for number, each in enumerate(curves) for tag in group if tag in each]
        if lines:
            drawn.append(_figure(name, lines, batches, runs))
            told.append([_told(line) for line in lines])
    return Charts("\n".join(drawn), told, batches)


def _line(tag: str, run: int, curves: Mapping[str, Curve]) -> Line:
    points = np.array(sorted(curves[tag].items()))
    # Where there are many, means of as many neighbours as needed.
    parts = np.array_split(points, min(len(points), _MOST_POINTS))
    means = [(float(batch), float(value)) for batch, value in (part.mean(axis=0) for part in parts)]
    deviation = curves.get(f"{tag}{_DEVIATION}")
    known = deviation is not None and set(deviation) >= {batch for batch, _ in means}
    deviations = [deviation[int(batch)] for batch, _ in means] if deviation is not None and known else None
    return Line(tag.rpartition("/")[2], run, means, deviations)


def _told(line: Line) -> dict[str, Any]:
    points = [[round(batch), _rounded(value)] for batch, value in line.points]
    deviations = [_rounded(each) for each in line.deviations] if line.deviations else None
    return {"run": line.run, "points": points, "deviations": deviations}


def _figure(name: str, lines: Sequence[Line], batches: tuple[int, int], runs: Sequence[str]) -> str:
    """A chart with its legend. Colours tell runs apart, and dashes curves; of one run, colours tell curves apart."""
    names = list(dict.fromkeys(line.name for line in lines))
    several = len(runs) > 1
    looks, keys = [], []
    for line in lines:
        number = names.index(line.name)
        colour, dash = (line.run, number) if several else (number, 0)
        looks.append(look := f"colour-{colour % N_COLOURS} dash-{dash % _N_DASHES}")
        what = ", ".join([*([runs[line.run]] if several else []), *([line.name] if len(names) > 1 else [])])
        keys.append(
            f'<li><span class="key {look}"></span>{escape(what)} '
            f'<output aria-label="{escape(what or name)}" aria-live="off"></output></li>'
        )
    note = next((f" <small>{text}</small>" for start, text in _BETTER.items() if name.startswith(start)), "")
    return (
        f'<figure class="chart"><figcaption><b>{escape(name)}</b>{note}</figcaption><ul>{"".join(keys)}</ul>'
        f"{_drawing(name, lines, looks, batches, several)}</figure>"
    )


def _drawing(name: str, lines: Sequence[Line], looks: Sequence[str], batches: tuple[int, int], several: bool) -> str:
    """An <svg> with axes and, for each run, an upright line that a script moves to where one listens."""
    across = Axis(batches, LEFT, WIDTH - RIGHT, may_log=False)
    up = Axis([value for line in lines for _, value in line.points], HEIGHT - BOTTOM, TOP)
    last = "; ".join(f"{line.name} ends at {line.points[-1][1]:.3g}" for line in lines)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{name}: {last}")}">']
    for tick in up.ticks:
        y = up.place(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in across.ticks:
        x = across.place(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {HEIGHT - BOTTOM}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_number(tick)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">batches</text>')
    for line, look in zip(lines, looks, strict=True):
        places = [f"{across.place(batch):.1f} {up.place(value):.1f}" for batch, value in line.points]
        parts.append(f'<path class="line {look}" d="M{"L".join(places)}"/>')
        if len(places) <= _FEW_POINTS:
            parts.append(f'<path class="dots {look}" d="{"".join(f"M{place}h0" for place in places)}"/>')
    for run in sorted({line.run for line in lines}):
        look = f" colour-{run % N_COLOURS}" if several else ""
        parts.append(f'<path class="marker{look}" data-run="{run}" d="M0 {TOP}V{HEIGHT - BOTTOM}"/>')
    parts.append("</svg>")
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
