"""A page to look at: a picture as it was read, with the box and the grid drawn on it, and what came out of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from gan.files import atomic_write, unwritable
from gan.outputs import Mark
from gan.sound.figure.figure import Figure, Layout
from gan.sound.figure.pixels import Pixels, load_pixels, open_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# By which a page is told from the pictures beside it.
REPORT_SUFFIX = ".report.png"
_SOFTWARE = "gan decode --report"
_PICTURE = 1600
_ZOOM_CELLS = 12
_GRID_COLOUR = "#00e5ff"


def write_report(figure: Figure, path: Path) -> None:
    """Draw a PNG page, atomically.

    Args:
        figure: What was read.
        path: The file to write.

    Raises:
        InputError: If the picture cannot be read any more or the page not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Page

    page = Page(figsize=(16, 10), layout="constrained")
    FigureCanvasAgg(page)
    axes = page.subplot_mosaic([["picture", "zoom"], ["spectrogram", "table"]], width_ratios=[3, 2])
    if figure.layout is not None:
        with open_picture(figure.path) as image:
            pixels = load_pixels(image, figure.path)
            _draw_picture(axes["picture"], pixels, figure.layout)
            _draw_zoom(axes["zoom"], pixels, figure.layout, figure)
    else:
        for name in ("picture", "zoom"):
            axes[name].axis("off")
        axes["picture"].set_title("one number a cell: nothing to be found", loc="left")
    settings = figure.settings
    n_rows, n_frames = figure.relative_db.shape
    top = settings.sample_rate / 2 if figure.mel is None else n_rows
    mesh = axes["spectrogram"].imshow(
        figure.relative_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, n_frames * settings.hop_length / settings.sample_rate, 0, top),
    )
    page.colorbar(mesh, ax=axes["spectrogram"], label="dB below the brightest colour")
    axes["spectrogram"].set(title="as read", xlabel="seconds", ylabel="Hz" if figure.mel is None else "mel band")
    axes["table"].axis("off")
    notes = "".join(f"\n! {warning}" for warning in figure.warnings)
    axes["table"].text(0, 1, figure.table() + notes, family="monospace", fontsize=8, va="top", wrap=True)
    page.suptitle(figure.path.name)
    try:
        with atomic_write(path) as part:
            page.savefig(part, format="png", dpi=100, metadata={"Software": _SOFTWARE})
    except OSError as error:
        raise unwritable(path, error) from error


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return PngImageFile(file).info.get("Software") == _SOFTWARE
    except Exception:  # Pillow's reader raises whatever a damaged file leads it into.
        return False


REPORT = Mark("page of gan decode --report", _is_report)


def _draw_picture(axes: "Axes", pixels: Pixels, layout: Layout) -> None:
    small, factor = pixels.thumbnail(_PICTURE)
    axes.imshow(small, cmap="gray", vmin=0, vmax=255, extent=(0, pixels.width, pixels.height, 0), aspect="auto")
    left, top, right, bottom = layout.box
    axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="red", linewidth=2)
    axes.set(title=f"the picture, box in red (drawn 1:{factor})", xlabel="pixels", ylabel="pixels")


def _draw_zoom(axes: "Axes", pixels: Pixels, layout: Layout, figure: Figure) -> None:
    """The lower left corner of the loudest place, pixel by pixel, with the edges of the cells."""
    row, column = divmod(int(figure.relative_db.argmax()), figure.relative_db.shape[1])
    row = min(row, len(layout.row_edges) - 2)
    rows = layout.row_edges[max(0, row - _ZOOM_CELLS // 2) :][: _ZOOM_CELLS + 1]
    columns = layout.column_edges[max(0, column - _ZOOM_CELLS // 2) :][: _ZOOM_CELLS + 1]
    left, right = int(columns.min()), int(np.ceil(columns.max()))
    top, bottom = int(rows.min()), int(np.ceil(rows.max()))
    left, top = max(0, min(left, right - 8)), max(0, min(top, bottom - 8))
    part = pixels.strip(left, top, min(right, pixels.width), min(bottom, pixels.height))
    extent = (left, left + part.shape[1], top + part.shape[0], top)
    axes.imshow(part, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto", interpolation="nearest")
    for edge in columns:
        axes.axvline(np.floor(edge + 0.5), color=_GRID_COLOUR, linewidth=0.8)
    for edge in rows:
        axes.axhline(np.floor(edge + 0.5), color=_GRID_COLOUR, linewidth=0.8)
    axes.set(xlim=extent[:2], ylim=extent[2:], title="its pixels around the loudest cell, and the edges of the cells")
