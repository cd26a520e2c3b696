"""Features are those of the sound's levels, worked out here by hand, and tell what is worse from what is better."""

import math

import pytest
import torch
from conftest import SMALL

from gan.errors import InputError
from gan.evaluate.features import MelStatistics
from gan.evaluate.metrics import frechet_distance
from gan.sound.mel import mel_filters
from gan.sound.settings import MelBands, SpectrogramSettings
from gan.sound.spectrogram import ImageScale, image_from_db

N_BANDS, N_TEXTURES = 12, 4
N_LOCAL = N_BANDS + 2 * N_TEXTURES
LEVEL = slice(0, N_BANDS)
IN_TIME = slice(N_BANDS, N_BANDS + N_TEXTURES)
IN_FREQUENCY = slice(N_BANDS + N_TEXTURES, N_LOCAL)


def images_of(level_db: torch.Tensor, scale: ImageScale) -> torch.Tensor:
    """Images (batch, 1, 64, n) of levels (batch, 65, n)."""
    return image_from_db(level_db, scale)[:, None]


def random_levels(batch: int, n_frames: int, seed: int = 0) -> torch.Tensor:
    return -70.0 * torch.rand(batch, SMALL.n_freqs, n_frames, generator=torch.Generator().manual_seed(seed))


def by_segment(embedding: MelStatistics, features: torch.Tensor) -> torch.Tensor:
    """Features in dB again, shape (batch, 8, n_local)."""
    kinds = ((1, N_BANDS), (2, N_TEXTURES), (2, N_TEXTURES))
    weights = torch.cat([torch.full((n,), weight * (8 * n) ** -0.5) for weight, n in kinds])
    return features.unflatten(1, (N_LOCAL, 8)).transpose(1, 2) / weights


def test_a_flat_spectrum_has_its_level_and_no_texture():
    scale = ImageScale(0.0)
    embedding = MelStatistics(SMALL, scale, 32)
    segments = by_segment(embedding, embedding(images_of(torch.full((1, 65, 32), -30.0), scale)))
    torch.testing.assert_close(segments[..., LEVEL], torch.full((1, 8, N_BANDS), -30.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(segments[..., N_BANDS:], torch.zeros(1, 8, 2 * N_TEXTURES), atol=1e-5, rtol=0)


def test_changes_are_counted_within_the_image():
    """Every second frame is 6 dB louder, then every second frequency."""
    scale = ImageScale(0.0)
    embedding = MelStatistics(SMALL, scale, 32)
    flicker = torch.full((1, 65, 32), -40.0)
    flicker[..., ::2] = -34.0
    segments = by_segment(embedding, embedding(images_of(flicker, scale)))
    # The first frame has none before it, and the segment's mean is of the other three.
    torch.testing.assert_close(segments[..., IN_TIME], torch.full((1, 8, N_TEXTURES), 6.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(segments[..., IN_FREQUENCY], torch.zeros(1, 8, N_TEXTURES), atol=1e-4, rtol=0)
    stripes = torch.full((1, 65, 32), -40.0)
    stripes[:, ::2] = -34.0
    segments = by_segment(embedding, embedding(images_of(stripes, scale)))
    torch.testing.assert_close(segments[..., IN_TIME], torch.zeros(1, 8, N_TEXTURES), atol=1e-4, rtol=0)
    torch.testing.assert_close(segments[..., IN_FREQUENCY], torch.full((1, 8, N_TEXTURES), 6.0), atol=1e-4, rtol=0)


def test_levels_are_those_of_mean_power_in_mel_bands():
    scale = ImageScale(0.0)
    level_db = random_levels(2, 40)
    filters = mel_filters(MelBands(N_BANDS, 0.0, 4000.0, norm=None), SMALL)[:, :-1].double()
    power = 10 ** (level_db[:, :-1].double() / 10)
    band_db = 10 * torch.log10(filters @ power / filters.sum(1)[:, None])
    expected = torch.stack([band_db[..., 5 * k : 5 * k + 5].mean(-1) for k in range(8)], 1)
    embedding = MelStatistics(SMALL, scale, 40)
    segments = by_segment(embedding, embedding(images_of(level_db, scale)))
    torch.testing.assert_close(segments[..., LEVEL], expected.float(), atol=1e-4, rtol=1e-5)


def test_distance_is_in_db():
    """3 dB louder everywhere is 3 dB away, however wide the image."""
    scale = ImageScale(0.0)
    for n_frames in (16, 37, 128):
        embedding = MelStatistics(SMALL, scale, n_frames)
        level_db = random_levels(1, n_frames) - 3.0
        a, b = embedding(images_of(level_db, scale)), embedding(images_of(level_db + 3.0, scale))
        assert float((a - b).norm()) == pytest.approx(3.0, abs=1e-3)


def test_without_texture_only_levels_count():
    scale = ImageScale(0.0)
    whole, levels = MelStatistics(SMALL, scale, 32), MelStatistics(SMALL, scale, 32, texture=0.0)
    assert (whole.name, levels.name) == ("mel", "mel_texture_0")
    image = images_of(random_levels(1, 32), scale)
    n_levels = 8 * N_BANDS
    torch.testing.assert_close(levels(image)[:, :n_levels], whole(image)[:, :n_levels])
    assert (levels(image)[:, n_levels:] == 0).all()


def test_features_do_not_depend_on_what_the_image_calls_white():
    level_db = random_levels(3, 48)
    frequencies = torch.linspace(0, 1, 64)
    scales = [
        ImageScale(0.0, 80.0),
        ImageScale(0.0, 120.0),
        ImageScale(0.0, 100.0, tuple((-35 - 5 * frequencies).tolist()), tuple((20 + frequencies).tolist())),
    ]
    features = [MelStatistics(SMALL, scale, 48)(images_of(level_db, scale)) for scale in scales]
    for other in features[1:]:
        torch.testing.assert_close(other, features[0], atol=1e-4, rtol=1e-4)


def test_what_is_80_db_below_the_top_is_silence():
    scale = ImageScale(0.0, 120.0)
    embedding = MelStatistics(SMALL, scale, 32)
    faint = embedding(images_of(random_levels(1, 32) / 2 - 81.0, scale))
    torch.testing.assert_close(faint, embedding(images_of(torch.full((1, 65, 32), -200.0), scale)))
    assert float(by_segment(embedding, faint)[..., LEVEL].mean()) == pytest.approx(-80.0, abs=1e-4)


def test_windows_are_the_images_cut_out():
    scale = ImageScale(0.0)
    embedding = MelStatistics(SMALL, scale, 37)
    image = images_of(random_levels(2, 60), scale)
    windows = embedding.windows(embedding.frames(image))
    assert windows.shape == (2, 24, embedding.n_features)
    for start in range(24):
        torch.testing.assert_close(windows[:, start].float(), embedding(image[..., start : start + 37]))


@pytest.mark.parametrize(("n_freqs", "n_frames"), [(64, 1024), (1024, 32)])
@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000])
def test_every_grid_has_bands(n_freqs, n_frames, sample_rate):
    n_fft = 2 * n_freqs
    settings = SpectrogramSettings(sample_rate, n_fft, n_fft // 4, n_fft)
    scale = ImageScale(0.0)
    embedding = MelStatistics(settings, scale, n_frames)
    features = embedding(torch.zeros(1, 1, n_freqs, n_frames))
    assert features.shape == (1, embedding.n_features)
    assert features.dtype == torch.float32
    # All levels are -40 dB: the squares of eight segments' levels, each divided by their number.
    assert float(features.norm()) == pytest.approx(40.0, abs=1e-3)


def test_images_too_narrow_or_of_another_width_are_refused():
    scale = ImageScale(0.0)
    with pytest.raises(InputError, match="15 frames wide; the embedding needs 16"):
        MelStatistics(SMALL, scale, 15)
    with pytest.raises(InputError, match="weight of texture is -1"):
        MelStatistics(SMALL, scale, 32, texture=-1)
    with pytest.raises(InputError, match="33 frames wide; this embedding is of 32"):
        MelStatistics(SMALL, scale, 32)(torch.zeros(1, 1, 64, 33))


def test_blur_and_noise_are_worse_than_other_sounds_and_uniform_noise_is_worst():
    """Chirps with harmonics over a noise floor: 300 against 100 others, blurred, noisy, and no sounds at all."""
    generator = torch.Generator().manual_seed(0)
    scale = ImageScale(0.0)

    def sounds(n: int) -> torch.Tensor:
        start, slope = 3 + 9 * torch.rand(n, 1, 1, generator=generator), 0.2 * torch.rand(n, 1, 1, generator=generator)
        pitch = start + slope * torch.arange(64)
        distance = torch.arange(65)[:, None] % pitch
        near = torch.minimum(distance, pitch - distance)
        noise = torch.rand(n, 65, 64, generator=generator)
        return images_of(torch.maximum(-10 - 12 * near, -65 + 10 * torch.log10(noise.clamp_min(1e-3))), scale)

    embedding = MelStatistics(SMALL, scale, 64)
    real, others = embedding(sounds(300)), sounds(100)
    blurred = torch.nn.functional.avg_pool2d(others, 3, 1, 1, count_include_pad=False)
    noisy = (others + 0.2 * torch.randn(others.shape, generator=generator)).clamp(-1, 1)
    uniform = 2 * torch.rand(others.shape, generator=generator) - 1
    distances = [frechet_distance(real, embedding(images)) for images in (others, blurred, noisy, uniform)]
    assert 2 * distances[0] < min(distances[1:3])
    assert max(distances[:3]) < distances[3] / 2
    assert not any(math.isnan(distance) for distance in distances)
