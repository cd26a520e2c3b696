"""Several images as one picture for people, with axes in Hz and seconds."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gan.listen.picture import colour
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale

_COLUMNS = 3
# Inches of a picture with its title and its share of the axes, at so many pixels an inch.
_WIDTH, _HEIGHT, _DPI = 3.2, 2.3, 90


class Sheet:
    """Pictures in rows of three, with names and one colour bar.

    Axes and names are drawn once, pictures are laid into them: that is a hundred times as fast as drawing all of it
    anew.

    Args:
        names: Of the images, in their order.
        n_frames: Width of the images.
        settings: Their grid.
        scale: Their levels.
    """

    def __init__(self, names: Sequence[str], n_frames: int, settings: SpectrogramSettings, scale: ImageScale) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter

        columns = min(_COLUMNS, len(names))
        rows = math.ceil(len(names) / columns)
        figure = Figure((columns * _WIDTH + 0.8, rows * _HEIGHT), dpi=_DPI, layout="constrained")
        seconds = n_frames * settings.hop_length / settings.sample_rate
        axes = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axis in axes[len(names) :]:
            axis.set_visible(False)
        self._axes = axes[: len(names)]
        for axis, name in zip(self._axes, names, strict=True):
            axis.set(xlim=(0, seconds), ylim=(0, settings.sample_rate / 2))
            axis.set_title(name, fontsize="medium")
            axis.xaxis.set_major_formatter(EngFormatter("s"))
            axis.yaxis.set_major_formatter(EngFormatter("Hz"))
            axis.tick_params(labelsize="small")
        relative = scale.mean_db is not None
        levels = Normalize(-3, 3) if relative else Normalize(scale.floor_db, scale.top_db)
        bar = figure.colorbar(ScalarMappable(levels, "magma"), ax=axes)
        bar.set_label("deviations from a frequency's mean" if relative else "dB", fontsize="small")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self._background = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        self._boxes = []
        for axis in self._axes:
            box = axis.get_window_extent()
            top = self._background.shape[0] - box.y1
            self._boxes.append((round(box.x0) + 1, round(top) + 1, round(box.width) - 1, round(box.height) - 1))

    def draw(self, images: Tensor) -> NDArray[np.uint8]:
        """Lay images into the sheet.

        Args:
            images: Shape (n, 1, n_freqs, n_frames), in [-1, 1].

        Returns:
            Shape (height, width, 3).
        """
        sheet = self._background.copy()
        for image, (left, top, width, height) in zip(images, self._boxes, strict=True):
            picture = Image.fromarray(colour(image[0])).resize((width, height), Image.Resampling.BOX)
            sheet[top : top + height, left : left + width] = np.asarray(picture)
        return sheet
