"""A generator without beginning and end: no seam, no border, any length."""

import copy
import math

import pytest
import torch
from torch import Tensor

from gan.errors import InputError
from gan.model.dcgan import QUIET, Discriminator
from gan.model.dcgan import Generator as DCGANGenerator
from gan.model.endless import Generator
from gan.model.gan import GAN
from gan.model.losses import RelativisticPairing
from gan.model.resampling import SmoothDoubling

SIZE = (64, 32)


def generator(n_classes: int = 0, **options: int) -> Generator:
    """One whose images are no longer silence, in double precision, so that rounding is no excuse."""
    torch.manual_seed(0)
    made = Generator(SIZE, n_classes, whole_dim=6, step_dim=5, base_channels=4, **options).double()
    made.to_image.convolution.weight.data *= 20
    made.to_image.bias.data.zero_()
    labels = torch.arange(64) % n_classes if n_classes else None
    for _ in range(50):
        made(torch.randn(64, made.latent_dim, dtype=torch.float64), labels)
    return made.eval()


def latents_of(made: Generator, n_frames: int, n: int = 2) -> Tensor:
    return torch.randn(n, made.latent_length(n_frames), dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("image_size", "step"),
    [((64, 64), 8), ((64, 64), 2), ((128, 128), 4), ((1024, 256), 32), ((64, 512), 4), ((128, 120), 4)],
)
def test_sizes(image_size, step):
    options = {"whole_dim": 4, "step_dim": 3, "step_frames": step, "base_channels": 1, "max_channels": 4}
    made = Generator(image_size, **options)
    assert made.step_frames == step
    images = made(torch.randn(2, made.latent_dim))
    assert images.shape == (2, 1, *image_size)
    for n_frames, rounded in ((1, step), (step, step), (step + 1, 2 * step), (10 * step, 10 * step)):
        assert made(torch.randn(1, made.latent_length(n_frames))).shape == (1, 1, image_size[0], rounded)


def test_a_longer_latent_goes_on_where_a_shorter_one_stops():
    made = generator()
    latents = latents_of(made, 400)
    with torch.no_grad():
        long = made(latents)
        short = made(latents[:, : made.latent_length(96)])
    assert float(long.std()) > 0.05
    torch.testing.assert_close(long[..., :96], short, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_frames", [8, 1024, 1032, 2100])
def test_blocks_are_what_is_made_at_once(n_frames):
    made = generator(n_classes=3)
    latents, labels = latents_of(made, n_frames), torch.tensor([2, 0])
    with torch.no_grad():
        blocks = [made(part, labels) for part in made.latent_blocks(latents)]
        whole = made(latents, labels)
        other = made(latents, torch.tensor([1, 0]))
    assert max(block.shape[-1] for block in blocks) <= 1024
    torch.testing.assert_close(torch.cat(blocks, -1), whole, rtol=0, atol=1e-13)
    assert (other[0] != whole[0]).any()
    assert (other[1] == whole[1]).all()


def test_no_frame_knows_where_it_lies():
    """The same steps give the same frames at the beginning, in the middle and at the end of an image."""
    made = generator()
    step, reach = made.step_frames, made.latent_length(made.step_frames) - made.latent_length(0)
    assert reach == made.step_dim
    latents = latents_of(made, 30 * step, 1)
    whole, begin, sequence = latents.split([6, 1, latents.shape[1] - 7], 1)
    with torch.no_grad():
        long = made(latents)
        for first in (0, 1, 7, 25):
            part = sequence[:, 5 * first : 5 * first + made.latent_length(4 * step) - 7]
            crop = made(torch.cat([whole, begin, part], 1))
            torch.testing.assert_close(crop, long[..., first * step :][..., : 4 * step], rtol=0, atol=1e-13)
        # Without an end that is near: as many steps of the same vector make frames that repeat exactly.
        same = made(torch.cat([whole, begin, sequence[:, :5].repeat(1, 60)], 1))[0, 0]
    torch.testing.assert_close(same[:, step:], same[:, :-step], rtol=0, atol=1e-13)


def test_images_begin_anywhere_in_a_step():
    made = generator()
    step = made.step_frames
    latents = latents_of(made, 64, 1)
    middle = latents.clone()
    middle[:, 6] = 0.0  # the median
    with torch.no_grad():
        wide = made(torch.cat([latents[:, :6], torch.full((1, 1), -9.0), latents[:, 7:]], 1))
        torch.testing.assert_close(made(middle)[..., :-step], wide[..., step // 2 : -step // 2], rtol=0, atol=1e-13)
        begins = torch.linspace(0.5 / step, 1 - 0.5 / step, step, dtype=torch.float64)
        many = latents.repeat(step, 1)
        many[:, 6] = torch.special.ndtri(begins)
        images = made(many)
    for start in range(step):
        length = images.shape[-1] - start
        torch.testing.assert_close(images[start, ..., :length], images[0, ..., start:], rtol=0, atol=1e-13)


def test_every_number_of_a_latent_is_heard_and_its_time_is_near():
    made = generator()
    step, reach = made.step_frames, made.latent_steps(0)
    latents = latents_of(made, 60 * step, 1)
    with torch.no_grad():
        before = made(latents)
        changed = latents.clone()
        changed[:, 7 + 5 * 40 : 7 + 5 * 41] += 1.0
        moved = (made(changed) != before)[0, 0].any(0).nonzero().flatten()
        for number in (0, 5, 6):
            other = latents.clone()
            other[:, number] = 1.0 - other[:, number]
            assert (made(other) != before).any((0, 1, 2)).all()
    # One step's vector changes the steps around it and no others, before and behind alike.
    assert (reach - 8) * step < len(moved) <= reach * step
    assert abs(int(moved[0]) + int(moved[-1]) - step * (2 * 40 - reach + 1)) <= 2 * step


def test_travelling_with_the_same_whole_is_staying():
    made = generator(n_classes=3)
    latents, labels = latents_of(made, 160), torch.tensor([2, 0])
    whole, begin, sequence = latents.split([6, 1, latents.shape[1] - 7], 1)
    sequence = sequence.reshape(2, -1, 5)
    wholes = whole[:, None].expand(-1, sequence.shape[1], -1)
    weights = torch.eye(3, dtype=torch.float64)[labels][:, None].expand(-1, sequence.shape[1], -1)
    with torch.no_grad():
        travelled = made.travel(wholes, sequence, weights)
        stayed = made(torch.cat([whole, torch.full_like(begin, -9.0), sequence.flatten(1)], 1), labels)
        assert travelled.shape[-1] == made.step_frames * (sequence.shape[1] - made.latent_steps(0) + 1)
        torch.testing.assert_close(travelled[..., : stayed.shape[-1]], stayed, rtol=0, atol=1e-12)
        # A whole that changes later is not heard before.
        later = wholes.clone()
        later[:, 34:] += 1.0
        moved = (made.travel(later, sequence, weights) != travelled).flatten(0, 2).any(0).nonzero().flatten()
    margin = made.latent_steps(0) // 2
    assert (34 - margin - 4) * made.step_frames <= int(moved[0]) < (34 - margin + 3) * made.step_frames
    assert int(moved[-1]) == travelled.shape[-1] - 1


def test_wrong_lengths_are_refused():
    made = generator()
    for length in (made.latent_dim + 1, made.latent_length(0), 3):
        with pytest.raises(ValueError, match="as many as latent_length says are needed"):
            made(torch.randn(1, length, dtype=torch.float64))
    with pytest.raises(ValueError, match="called with labels"):
        made(latents_of(made, 32), torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"set data\.n_frames"):
        Generator((128, 100))
    for step_frames in (0, 1, 12, 32):
        with pytest.raises(InputError, match=rf"step_frames is {step_frames}; .* a power of two from 2 to 16"):
            Generator((128, 128), step_frames=step_frames)


def test_a_gan_samples_any_length():
    torch.manual_seed(0)
    networks = Generator(SIZE, base_channels=4), Discriminator(SIZE, base_channels=4, normalization="none")
    gan = GAN(*networks, RelativisticPairing())
    gan.calibrate_average()
    latents = torch.randn(2, networks[0].latent_length(2100))
    before = copy.deepcopy(gan.ema.state_dict())
    images = gan.sample(latents)
    blocks = list(gan.sample_blocks(latents))
    assert images.shape == (2, 1, 64, 2100)
    assert len(blocks) == 3
    torch.testing.assert_close(torch.cat(blocks, -1), images, rtol=0, atol=1e-5)
    for name, value in gan.ema.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_sequence_is_smoothed_over_short_and_long_times():
    made = Generator((64, 64), step_dim=8)
    vectors = torch.randn(1, 8, 200_000, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.conv1d(vectors, made.smooth, groups=8)[0]
    torch.testing.assert_close(smooth.std(1), torch.ones(8), rtol=0, atol=0.02)
    nearby = [float((row[1:] * row[:-1]).mean()) for row in smooth]
    assert nearby == sorted(nearby)
    # Of a bell, exp(-1 / (4 deviation^2)).
    assert abs(nearby[0]) < 0.01
    assert nearby[-1] == pytest.approx(0.984, abs=0.005)


@pytest.mark.parametrize(("longer", "sharp", "width"), [(True, False, 28), (True, True, 20), (False, False, 14)])
def test_doubling_treats_all_pixels_alike(longer, sharp, width):
    """Of an even grid an even one comes, whatever the weights are."""
    torch.manual_seed(0)
    doubling = SmoothDoubling(3, 2, longer, bias=True, sharp=sharp).double()
    with torch.no_grad():
        even = doubling(torch.ones(1, 3, 8, 16, dtype=torch.float64))
        assert even.shape == (1, 2, 16, width)
        torch.testing.assert_close(even, even[..., 8:9, 8:9].expand_as(even), rtol=0, atol=1e-12)


def test_what_is_generated_has_no_pulse():
    """Of an untrained generator already, and of any weights: the level is the same wherever in a step a frame lies."""
    made = generator()
    with torch.no_grad():
        images = made(latents_of(made, 2000, n=16))
    levels = images.mean((1, 2))
    by_place = levels.reshape(16, -1, made.step_frames).mean((0, 1))
    assert float(by_place.std()) < 0.05 * float(levels.std())


def test_first_images_are_as_dark_as_a_dcgan_s():
    torch.manual_seed(0)
    for network in (Generator((64, 64), base_channels=4), DCGANGenerator((64, 64), base_channels=4)):
        images = network(torch.randn(16, network.latent_dim))
        assert float(images.detach().mean()) == pytest.approx(math.tanh(QUIET), abs=0.02)
