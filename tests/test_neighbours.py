"""The nearest training crop is found whatever frame it starts at, and copies are told from new sounds."""

import pytest
import torch
from conftest import SMALL

from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.errors import InputError
from gan.evaluate.features import MelStatistics
from gan.evaluate.neighbours import Neighbours, copy_rate

N_FRAMES = 32
WIDTHS = [20, 31, 32, 33, 60, 150, 90, 47]


@pytest.fixture
def data(tmp_path, write_image) -> ImageData:
    """Images of 20 to 150 frames: shorter than a crop, as long as one, and longer."""
    for index, width in enumerate(WIDTHS):
        write_image(tmp_path / f"{index}.png", width, seed=index)
    module = ImageData(tmp_path, n_frames=N_FRAMES, batch_size=2)
    module.setup()
    return module


def search(data: ImageData, images: list[int] | None = None) -> Neighbours:
    embedding = MelStatistics(SMALL, data.scale, N_FRAMES)
    return Neighbours(embedding, data.crops(), list(range(len(WIDTHS))) if images is None else images)


def every_crop(images: list[int]) -> list[Crop]:
    return [Crop(index, start) for index in images for start in range(max(1, WIDTHS[index] - N_FRAMES + 1))]


def noisy(images: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + 0.3 * noise).clamp(-1, 1)


@pytest.mark.parametrize(("n_starts", "max_cells"), [(1024, 2**22), (7, 2**22), (13, 10_000)])
def test_nearest_is_that_of_brute_force(data, monkeypatch, n_starts, max_cells):
    monkeypatch.setattr("gan.evaluate.neighbours._N_STARTS", n_starts)
    monkeypatch.setattr("gan.evaluate.neighbours._MAX_CELLS", max_cells)
    images = [0, 1, 2, 3, 4, 5, 7]
    crops = every_crop(images)
    neighbours = search(data, images)
    embeddings = neighbours.embedding(data.crops().__getitems__(crops).images).double()
    queries = noisy(data.crops().__getitems__(every_crop([6])[::3] + crops[::20]).images)
    distances = torch.cdist(neighbours.embedding(queries).double(), embeddings)
    nearest, found = neighbours.nearest(queries)
    torch.testing.assert_close(nearest, distances.min(1).values, atol=1e-4, rtol=0)
    assert found == [crops[index] for index in distances.argmin(1).tolist()]
    assert float(nearest.min()) > 0.1


def test_every_crop_finds_itself(data):
    crops = every_crop(list(range(len(WIDTHS))))
    distances, found = search(data).nearest(data.crops().__getitems__(crops).images)
    assert found == crops
    assert float(distances.max()) < 1e-4


def test_searching_leaves_the_dataset_as_it_was(data):
    crops = data.crops()
    embedding = MelStatistics(SMALL, data.scale, N_FRAMES)
    Neighbours(embedding, crops, [5]).nearest(crops[Crop(4, 0)].images)
    assert crops.n_frames == N_FRAMES


def test_what_does_not_fit_is_refused(data):
    with pytest.raises(InputError, match="of 40 frames, but crops have 32"):
        Neighbours(MelStatistics(SMALL, data.scale, 40), data.crops(), [0])
    with pytest.raises(InputError, match="no images to search"):
        search(data, [])


def test_copies_of_training_crops_are_told_from_new_sounds(tmp_path, write_image):
    """Half of 160 recordings are trained on; of the others, half are held out and half are a perfect generator's."""
    for index in range(160):
        write_image(tmp_path / f"{index:03d}.png", 40, seed=index)
    data = ImageData(tmp_path, n_frames=N_FRAMES, batch_size=2, validation_fraction=0.0)
    data.setup()
    crops = data.crops()
    neighbours = Neighbours(MelStatistics(SMALL, data.scale, N_FRAMES), crops, list(range(80)))
    held_out, _ = neighbours.nearest(crops.__getitems__([Crop(index, 0) for index in range(80, 120)]).images)
    new, _ = neighbours.nearest(crops.__getitems__([Crop(index, 0) for index in range(120, 160)]).images)
    copies = [Crop(index, 1 + index % 8) for index in range(40)]
    copied, found = neighbours.nearest(crops.__getitems__(copies).images)
    assert found == copies
    assert copy_rate(copied, held_out) == 1.0
    assert copy_rate(new, held_out) <= 0.15
    assert copy_rate(torch.cat([copied, new]), held_out) == pytest.approx(0.5, abs=0.08)


def test_copy_rate_of_unseen_sounds_is_5_percent_however_few():
    """Mean over 4000 draws of 30 held-out distances, against the uniform distribution's own quantile."""
    held_out = torch.rand(4000, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = torch.linspace(0, 1, 1001)
    rates = [copy_rate(grid, distances) for distances in held_out]
    assert sum(rates) / len(rates) == pytest.approx(0.05, abs=0.003)


def test_copy_rate_by_hand():
    """Of 19 distances the 5 % quantile is the least."""
    held_out = torch.arange(1.0, 20.0)
    assert copy_rate(torch.tensor([0.5, 0.9, 1.0, 3.0]), held_out) == 0.5
    # Training crops of silence: a limit of 0 that nothing is below.
    assert copy_rate(torch.zeros(3), torch.zeros(20)) == 0.0


def test_copy_rate_needs_enough_distances():
    with pytest.raises(InputError, match="needs 19 held-out images or more, but there are 18"):
        copy_rate(torch.ones(3), torch.ones(18))
    with pytest.raises(InputError, match="needs 1 generated images or more, but there are 0"):
        copy_rate(torch.ones(0), torch.ones(19))
    with pytest.raises(InputError, match="some generated images"):
        copy_rate(torch.tensor([torch.nan]), torch.ones(19))
