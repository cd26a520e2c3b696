"""Which levels are -1 and 1 for a GAN, from the images that it learns from."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from gan.data.crops import CropDataset, Fresh, side_by_side
from gan.errors import InputError
from gan.progress import each
from gan.sound.spectrogram import ImageScale

# Crops that a scale's means are taken of, and crops read at a time.
_N_STATISTICS = 4096
_N_READ = 64
# Of a frequency that never changes: inaudible, and what a GAN makes there is no louder or quieter than this.
_MIN_DEVIATION_DB = 0.1


def global_scale(
    levels_db: Sequence[float | None], range_db: float, top_db: float | None, equal_levels: bool, folder: Path
) -> ImageScale:
    """One scale for all frequencies.

    Args:
        levels_db: Level of each image's loudest cell; None for silence.
        range_db: What the scale spans.
        top_db: Its upper end; if not given, the loudest image's level or, with equal_levels, the median.
        equal_levels: Whether all images are lifted to one level.
        folder: The folder of images, for messages.

    Raises:
        InputError: If all images are silent.
    """
    levels = [level for level in levels_db if level is not None]
    if not levels:
        raise InputError(f"{folder}: all images are silent")
    if top_db is not None:
        return ImageScale(top_db, range_db)
    return ImageScale(statistics.median(levels) if equal_levels else max(levels), range_db)


def per_frequency_scale(dataset: CropDataset, fresh: Fresh) -> ImageScale:
    """A scale that has mean and deviation of each frequency (Donahue, McAuley and Puckette 2019, section 3.2).

    They are those of what the GAN sees: of levels that are clipped to the range, and with the silence that short
    images are filled up with. Of many crops, 4096 that are spread evenly are read: their mean is within 2 % of a
    deviation of that of all, be the frames of a crop as alike as they may.

    Args:
        dataset: The crops, on one scale for all frequencies: its range is kept.
        fresh: What crops may be cut from.
    """
    chosen = side_by_side(fresh, dataset.n_frames, _N_STATISTICS)
    n_freqs = dataset.store.settings.n_freqs - 1
    total, squares = torch.zeros(2, n_freqs, dtype=torch.float64)
    for start in each(range(0, len(chosen), _N_READ), "levels", "part"):
        images = dataset.__getitems__(chosen[start : start + _N_READ]).images.double()
        total += images.sum((0, 1, 3))
        squares += images.square().sum((0, 1, 3))
    n_cells = len(chosen) * dataset.n_frames
    mean = total / n_cells
    deviation = (squares / n_cells - mean.square()).clamp_min(0).sqrt()
    scale, half = dataset.scale, 0.5 * dataset.scale.range_db
    return ImageScale(
        scale.top_db,
        scale.range_db,
        tuple((scale.floor_db + (mean + 1) * half).tolist()),
        tuple((deviation * half).clamp_min(_MIN_DEVIATION_DB).tolist()),
    )
