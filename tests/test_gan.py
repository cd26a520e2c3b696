"""The training step: what moves, what does not, and that it learns."""

import copy

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from gan.data.crops import Batch
from gan.model.dcgan import Discriminator, Generator
from gan.model.gan import GAN
from gan.model.losses import NonSaturating
from gan.model.penalties import R1

SIZE = (32, 32)


def small_gan(**options) -> GAN:
    torch.manual_seed(0)
    return GAN(
        Generator(SIZE, latent_dim=8, base_channels=8),
        Discriminator(SIZE, base_channels=8, normalization="none"),
        NonSaturating(),
        **options,
    )


def trained(gan: GAN, tmp_path, n_batches: int, n_epochs: int = 1, batches=None, **options) -> GAN:
    batches = batches or [
        Batch(torch.rand(8, 1, *SIZE, generator=torch.Generator().manual_seed(i)) - 0.5, None) for i in range(n_batches)
    ]
    trainer = Trainer(
        max_epochs=n_epochs,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(gan, DataLoader(batches, batch_size=None))
    return gan


def copies(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_both_networks_move_at_their_own_rate(tmp_path):
    gan = small_gan(generator_lr=0.0)
    before_g, before_d = copies(gan.generator), copies(gan.discriminator)
    trained(gan, tmp_path, 2)
    for name, weight in gan.generator.named_parameters():
        torch.testing.assert_close(weight.detach(), before_g[name], rtol=0, atol=0)
    assert all((weight != before_d[name]).any() for name, weight in gan.discriminator.named_parameters())
    assert all(weight.requires_grad for weight in gan.discriminator.parameters())
    assert gan.batches_seen == 2


def test_first_step_is_adams(tmp_path):
    """Adam's first step has the learning rate's length, whatever the gradient."""
    gan = small_gan(generator_lr=1e-3, discriminator_lr=5e-4)
    before_g, before_d = copies(gan.generator), copies(gan.discriminator)
    trained(gan, tmp_path, 1)
    for network, before, rate in ((gan.generator, before_g, 1e-3), (gan.discriminator, before_d, 5e-4)):
        moved = torch.cat([(weight.detach() - before[n]).abs().flatten() for n, weight in network.named_parameters()])
        assert float(moved.median()) == pytest.approx(rate, rel=0.01)


def test_average_follows_the_formula(tmp_path):
    gan = small_gan(ema_decay=0.5)
    trained(gan, tmp_path, 1)
    first = {name: weight.detach().clone() for name, weight in gan.generator.named_parameters()}
    for name, weight in gan.ema.module.named_parameters():
        torch.testing.assert_close(weight, first[name], rtol=0, atol=0)  # the first average is the weights
    # The second: decay min(0.5, 2 / 11).
    trained(gan, tmp_path, 1)
    averaged = dict(gan.ema.module.named_parameters())
    for name, weight in gan.generator.named_parameters():
        torch.testing.assert_close(averaged[name], torch.lerp(first[name], weight.detach(), 1 - 2 / 11))


def test_average_has_batch_statistics_of_its_own(tmp_path):
    gan = trained(small_gan(generator_lr=1e-3, ema_decay=0.999), tmp_path, 40)
    latents = torch.randn(512, 8, generator=torch.Generator().manual_seed(3))
    sampled = gan.sample(latents)
    with torch.no_grad():
        expected = gan.ema.train()(latents)  # normalised by the statistics of these very latents
        borrowed = copy.deepcopy(gan.ema.module)
        for mine, other in zip(borrowed.buffers(), gan.generator.buffers(), strict=True):
            mine.copy_(other)
        wrong = borrowed.eval()(latents)
    error, error_of_borrowed = (float((images - expected).abs().mean()) for images in (sampled, wrong))
    assert error < 0.02
    assert error_of_borrowed > 3 * error


def test_samples_come_from_the_average_one_by_one(tmp_path):
    gan = trained(small_gan(), tmp_path, 3)
    gan.train()
    latents = torch.randn(4, 8)
    state = copies(gan)
    together = gan.sample(latents)
    assert gan.ema.training
    assert not together.requires_grad
    torch.testing.assert_close(torch.cat([gan.sample(latent[None]) for latent in latents]), together)
    for name, value in copies(gan).items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    one, same, other = (trained(small_gan(seed=seed), tmp_path, 3) for seed in (1, 1, 2))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], value, rtol=0, atol=0)
    assert any((value != other.state_dict()[name]).any() for name, value in one.state_dict().items())


def test_penalty_is_lazy_and_counts(tmp_path):
    seen = []

    class Watched(R1):
        def penalty(self, discriminator, real, fake):
            seen.append(float(real.mean()))
            return super().penalty(discriminator, real, fake)

    with_penalty = trained(small_gan(penalty=Watched(weight=10.0, every=3)), tmp_path, 7)
    assert len(seen) == 3
    without = trained(small_gan(), tmp_path, 7)
    weights = [torch.cat([w.detach().flatten() for w in g.discriminator.parameters()]) for g in (with_penalty, without)]
    assert float((weights[0] - weights[1]).abs().max()) > 1e-4


def test_it_learns_a_simple_distribution(tmp_path):
    """Images that are bright on the left or on the right: samples get both, and the right levels."""
    generator = torch.Generator().manual_seed(0)

    def batch() -> Batch:
        images = torch.full((16, 1, *SIZE), -0.8)
        left = torch.rand(16, generator=generator) < 0.5
        images[left, :, :, :16] = 0.6
        images[~left, :, :, 16:] = 0.6
        return Batch(images + 0.05 * torch.randn(images.shape, generator=generator), None)

    gan = small_gan(generator_lr=1e-3, discriminator_lr=1e-3, penalty=R1(1.0, every=2), ema_decay=0.95)
    trained(gan, tmp_path, 0, batches=[batch() for _ in range(500)])
    samples = gan.sample(torch.randn(200, 8, generator=generator))
    halves = torch.stack([samples[..., 2:14].mean(dim=(1, 2, 3)), samples[..., 18:30].mean(dim=(1, 2, 3))])
    bright, dark = halves.max(dim=0).values, halves.min(dim=0).values
    assert float(bright.mean()) == pytest.approx(0.6, abs=0.15)
    assert float(dark.mean()) == pytest.approx(-0.8, abs=0.15)
    share_left = float((halves[0] > halves[1]).float().mean())
    assert 0.2 < share_left < 0.8
