"""Networks for every size that can be halved, and a clear word for every one that can't."""

import pytest
import torch
from torch import nn

from gan.errors import InputError
from gan.model import endless, resnet
from gan.model.dcgan import Discriminator, Generator, LabelledLatent, base_grid
from gan.model.resampling import Downsample, Upsample


@pytest.mark.parametrize(
    ("image_size", "grid", "stages"),
    [
        ((64, 64), (4, 4), 4),
        ((128, 128), (4, 4), 5),
        ((256, 128), (8, 4), 5),
        ((1024, 256), (16, 4), 6),
        ((1024, 128), (32, 4), 5),
        ((64, 512), (4, 32), 4),
        ((96, 80), (6, 5), 4),
        ((128, 120), (16, 15), 3),
    ],
)
def test_sizes(image_size, grid, stages):
    assert base_grid(image_size) == (grid, stages)
    generator = Generator(image_size, latent_dim=8, base_channels=2, max_channels=16)
    discriminator = Discriminator(image_size, base_channels=2, max_channels=16)
    images = generator(torch.randn(2, 8))
    assert images.shape == (2, 1, *image_size)
    assert float(images.detach().abs().max()) <= 1
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize(
    ("image_size", "message"),
    [
        ((128, 100), "set data.n_frames to a multiple of 8, e.g. 96"),
        ((128, 1), "set data.n_frames to a multiple of 8, e.g. 32"),
        ((1024, 250), "set data.n_frames to a multiple of 32, e.g. 256"),
        ((500, 128), "encode with an n_fft that is a power of two"),
        ((16, 16), "at least 32"),
    ],
)
def test_impossible_sizes_say_what_to_do(image_size, message):
    for network in (Generator, Discriminator):
        with pytest.raises(InputError, match=message):
            network(image_size)


@pytest.mark.parametrize("image_size", [(128, 100), (1024, 250), (64, 33), (128, 1)])
def test_the_advice_works(image_size):
    with pytest.raises(InputError) as refused:
        base_grid(image_size)
    base_grid((image_size[0], int(str(refused.value).rsplit(" ", 1)[1])))


@pytest.mark.parametrize(
    "network", [Generator, Discriminator, endless.Generator, resnet.Generator, resnet.Discriminator]
)
@pytest.mark.parametrize("option", ["base_channels", "max_channels"])
@pytest.mark.parametrize("value", [0, -64])
def test_a_layer_has_channels(network, option, value):
    with pytest.raises(InputError, match=f"^{option} is {value}; it must be 1 or more$"):
        network((64, 64), **{option: value})


@pytest.mark.parametrize(
    ("network", "option"),
    [
        (Generator, "latent_dim"),
        (endless.Generator, "whole_dim"),
        (endless.Generator, "step_dim"),
        *((resnet.Generator, option) for option in ("latent_dim", "blocks_per_stage", "expansion", "group_size")),
        *((resnet.Discriminator, option) for option in ("blocks_per_stage", "expansion", "group_size")),
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_below_one_are_refused(network, option, value):
    with pytest.raises(InputError, match=f"^{option} is {value}; it must be 1 or more$"):
        network((64, 64), **{option: value})


def test_initial_weights_are_the_papers():
    torch.manual_seed(0)
    generator = Generator((64, 64), base_channels=32)
    convolutions = [layer for layer in generator.modules() if isinstance(layer, nn.ConvTranspose2d)]
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(convolutions) == 5
    for layer in convolutions:
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
        assert abs(float(layer.weight.detach().mean())) < 0.002
    for layer in norms:
        assert float(layer.weight.detach().mean()) == pytest.approx(1.0, abs=0.01)
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.3)


def test_first_images_are_dark_to_the_borders():
    torch.manual_seed(0)
    images = Generator((64, 32), base_channels=8)(torch.randn(16, 128)).detach()
    assert float(images.mean()) == pytest.approx(-0.9, abs=0.05)
    assert float(images[..., 0].mean()) == pytest.approx(-0.9, abs=0.05)


def test_every_latent_and_every_pixel_counts():
    torch.manual_seed(0)
    generator = Generator((64, 32), latent_dim=8, base_channels=4).eval()
    latents = torch.randn(2, 8, requires_grad=True)
    generator(latents)[0].square().sum().backward()
    assert (latents.grad[0] != 0).all()
    assert (latents.grad[1] == 0).all()
    discriminator = Discriminator((64, 32), base_channels=4)
    images = torch.randn(1, 1, 64, 32, requires_grad=True)
    discriminator(images).sum().backward()
    assert (images.grad != 0).all()


@pytest.mark.parametrize(("normalization", "batch_norms"), [("none", 0), ("batch", 3), ("spectral", 0)])
def test_normalization(normalization, batch_norms):
    discriminator = Discriminator((64, 64), base_channels=4, normalization=normalization)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.modules()) == batch_norms
    weights = [layer.weight for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    norms = [float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) for weight in weights]
    if normalization == "spectral":
        assert norms == pytest.approx([1.0] * 5, rel=0.1)
    elif normalization == "batch":
        assert max(norms) < 0.6


def test_without_normalization_an_image_reaches_the_logits():
    torch.manual_seed(0)
    kept, faded = (Discriminator((64, 64), base_channels=32, normalization=kind) for kind in ("none", "batch"))
    images = torch.randn(64, 1, 64, 64)
    with torch.no_grad():
        assert 0.3 < float(kept(images).std()) < 3
        assert float(faded.train(False)(images).std()) < 0.1


def test_names_of_weights_are_those_of_older_checkpoints():
    names = set(Generator((32, 32), base_channels=2).state_dict())
    norms = {f"layers.{i}.{name}" for i in (1, 4, 7) for name in ("weight", "bias", "running_mean", "running_var")}
    norms |= {f"layers.{i}.num_batches_tracked" for i in (1, 4, 7)}
    assert (
        names == {"layers.0.weight", "layers.3.weight", "layers.6.weight", "to_image.weight", "to_image.bias"} | norms
    )
    names = set(Discriminator((32, 32), base_channels=2, normalization="none").state_dict())
    assert names == {f"layers.{i}.{name}" for i in (0, 2, 4, 6) for name in ("weight", "bias")}


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_every_kind_of_generator_starts_dark_and_hears_its_latent(upsample, normalization):
    torch.manual_seed(0)
    generator = Generator((128, 64), base_channels=8, upsample=upsample, normalization=normalization)
    images = generator(torch.randn(16, 128)).detach()
    assert images.shape == (16, 1, 128, 64)
    assert float(images.mean()) == pytest.approx(-0.9, abs=0.05)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in generator.modules())
    assert norms == (4 if normalization == "batch" else 0)
    # The paper's weights without normalization: 1e-6, no latent would be heard.
    assert 0.003 < float(images.std(dim=0).mean()) < 0.1


def test_without_normalization_variance_is_kept():
    torch.manual_seed(0)
    for upsample in ("transposed", "resize"):
        generator = Generator((64, 64), base_channels=32, normalization="none", upsample=upsample)
        features = torch.randn(32, 128, 1, 1)
        for layer in generator.layers:
            features = layer(features)
        # Of what a ReLU leaves the mean square stays; smoothing takes a part of it away.
        assert 0.1 < float(features.detach().square().mean()) < 2.0


def test_images_without_batch_norm_depend_on_their_own_latent_only():
    torch.manual_seed(0)
    latents = torch.randn(4, 8)
    generator = Generator((32, 32), latent_dim=8, base_channels=2, normalization="none")
    torch.testing.assert_close(generator(latents)[:1], generator(latents[:1]))


def test_upsample_is_bilinear():
    images = torch.randn(2, 3, 5, 7)
    bilinear = nn.functional.interpolate(images, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(Upsample(3)(images), bilinear)


def test_downsample_is_torchs_without_aliases():
    images = torch.randn(2, 3, 8, 12)
    smooth = nn.functional.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
    torch.testing.assert_close(Downsample(3)(images)[..., 1:-1, 1:-1], smooth[..., 1:-1, 1:-1])
    torch.testing.assert_close(Downsample(3)(torch.ones(1, 3, 8, 8)), torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize(("upsample", "alike"), [("transposed", False), ("resize", True)])
def test_resizing_treats_even_and_odd_pixels_alike(upsample, alike):
    # Of a flat grid, where all latents' marks are the same, comes a flat image but near the borders.
    torch.manual_seed(0)
    to_image = Generator((64, 64), base_channels=4, upsample=upsample).to_image
    flat = to_image(torch.rand(1, 4, 1, 1).expand(1, 4, 16, 16))[..., 4:-4, 4:-4].detach()
    assert (float(flat.std()) < 1e-6) == alike


def test_a_class_joins_the_latent_at_its_size():
    torch.manual_seed(0)
    labelled = LabelledLatent(3, 64)
    latents, labels = torch.randn(5, 64), torch.tensor([0, 1, 2, 1, 0])
    joined = labelled(latents, labels).detach()
    torch.testing.assert_close(joined[:, :64], latents)
    torch.testing.assert_close(joined[:, 64:].square().mean(dim=1), torch.ones(5))
    torch.testing.assert_close(joined[1, 64:], joined[3, 64:])
    assert (joined[0, 64:] != joined[1, 64:]).any()
    # Mixtures of classes, and each of them alone.
    one_hot = torch.eye(3)[labels]
    torch.testing.assert_close(labelled(latents, one_hot).detach(), joined)
    mixed = labelled(latents[:1], torch.tensor([[0.5, 0.5, 0.0]])).detach()[0, 64:]
    between = labelled.embedding.weight[:2].detach().mean(0)
    torch.testing.assert_close(mixed, 8 * between / between.norm())


@pytest.mark.parametrize("normalization", ["none", "batch", "spectral"])
def test_projection_by_hand(normalization):
    torch.manual_seed(0)
    discriminator = Discriminator((32, 64), n_classes=3, base_channels=4, normalization=normalization).eval()
    images, labels = torch.randn(5, 1, 32, 64), torch.tensor([2, 0, 1, 1, 2])
    features = discriminator.layers[:-1](images)
    unconditional = discriminator.layers[-1](features).flatten()
    vectors = discriminator.projection.weight[labels]
    assert vectors.shape == features.shape == (5, 16, 4, 8)
    expected = unconditional + torch.einsum("bcij,bcij->b", vectors, features)
    torch.testing.assert_close(discriminator(images, labels), expected)
    if normalization == "spectral":
        norm = torch.linalg.matrix_norm(discriminator.projection.weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1, rel=0.1)


def test_labels_change_images():
    torch.manual_seed(0)
    generator = Generator((32, 32), n_classes=3, latent_dim=8, base_channels=2, normalization="none")
    latents = torch.randn(1, 8).repeat(2, 1)
    assert generator.n_classes == 3
    one, other = generator(latents, torch.tensor([0, 1])).detach()
    assert float((one - other).abs().mean()) > 1e-4


@pytest.mark.parametrize("n_classes", [0, 2])
def test_missing_and_superfluous_labels_are_errors(n_classes):
    generator = Generator((32, 32), n_classes=n_classes, latent_dim=8, base_channels=2)
    discriminator = Discriminator((32, 32), n_classes=n_classes, base_channels=2)
    labels = None if n_classes else torch.zeros(2, dtype=torch.int64)
    for network, given in ((generator, torch.randn(2, 8)), (discriminator, torch.randn(2, 1, 32, 32))):
        with pytest.raises(ValueError, match=f"a network of {n_classes} classes was called with"):
            network(given, labels)
