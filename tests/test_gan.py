"""The training step: what moves, what does not, and that it learns."""

import copy
from contextlib import nullcontext
from functools import partialmethod

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from gan.data.crops import Batch
from gan.errors import InputError
from gan.model import endless, resnet
from gan.model.augment import Augment
from gan.model.dcgan import Discriminator, Generator
from gan.model.gan import GAN
from gan.model.losses import NonSaturating, RelativisticPairing, Wasserstein
from gan.model.penalties import R1, R1R2, WassersteinGP
from gan.seed import derive_seed

SIZE = (32, 32)


def small_gan(loss=None, **options) -> GAN:
    torch.manual_seed(0)
    return GAN(
        Generator(SIZE, latent_dim=8, base_channels=8),
        Discriminator(SIZE, base_channels=8, normalization="none"),
        loss or NonSaturating(),
        **options,
    )


def trained(gan: GAN, tmp_path, n_batches: int, n_epochs: int = 1, batches=None, resume=None, **options) -> GAN:
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
    trainer.fit(gan, DataLoader(batches, batch_size=None), ckpt_path=resume, weights_only=True)
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


@pytest.mark.parametrize("options", [{}, {"max_steps": 6}])
def test_average_has_batch_statistics_of_its_own_however_the_training_ends(tmp_path, options):
    gan = trained(small_gan(), tmp_path, 4, n_epochs=2, **options)
    assert gan.batches_seen == (3 if options else 8)
    left = copies(gan.ema)
    gan.calibrate_average()
    for name, value in gan.ema.state_dict().items():
        torch.testing.assert_close(left[name], value, rtol=0, atol=0)
    statistics = gan.ema.module.layers[1].running_mean
    assert not torch.allclose(statistics, gan.generator.layers[1].running_mean, rtol=0.01)


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


class Readings(TorchDispatchMode):
    """Counts how often a number is read from a tensor, for which an accelerator would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_no_batch_waits_for_a_number(tmp_path):
    counts = []
    for n_batches in (4, 9):  # what is logged is read every tenth
        options = {"penalty": R1(1.0, every=2), "gradient_clip": 1.0, "n_discriminator_steps": 2}
        with Readings() as readings:
            trained(small_gan(loss=RelativisticPairing(), **options), tmp_path, n_batches)
        counts.append(readings.n)
    assert counts[0] == counts[1] > 0


class Elsewhere:
    """Stands for a trainer on a device whose tensors hold no numbers and go with no others: the meta device."""

    world_size, global_rank, log_every_n_steps, precision_plugin = 1, 0, 1000, None

    def __init__(self, gan: GAN) -> None:
        self.strategy = self
        self._lightning_optimizers = [Adam(gan.generator.parameters()), Adam(gan.discriminator.parameters())]

    def backward(self, loss, optimizer) -> None:
        loss.backward()


LOSSES = {
    "R1R2": (RelativisticPairing(), R1R2(1.0)),
    "WassersteinGP": (Wasserstein(), WassersteinGP(1.0)),
    "none": (NonSaturating(), None),
}
NETWORKS = ["dcgan", "labels", "resnet", "endless"]


@pytest.mark.parametrize(
    ("networks", "losses"),
    [
        *((networks, "R1R2") for networks in NETWORKS),
        *(("dcgan", losses) for losses in ("WassersteinGP", "none")),
        *(
            pytest.param(networks, losses, marks=pytest.mark.slow)
            for networks in NETWORKS[1:]
            for losses in ("WassersteinGP", "none")
        ),
    ],
)
def test_a_step_leaves_everything_on_the_device(networks, losses, monkeypatch):
    loss, penalty = LOSSES[losses]
    # There is no such thing for that device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    plain = Discriminator(SIZE, base_channels=8, normalization="none")
    generator, discriminator = {
        "dcgan": lambda: (Generator(SIZE, base_channels=8), plain),
        "labels": lambda: (
            Generator(SIZE, base_channels=8, upsample="resize", n_classes=3),
            Discriminator(SIZE, base_channels=8, normalization="none", n_classes=3),
        ),
        "resnet": lambda: (resnet.Generator(SIZE, base_channels=8), resnet.Discriminator(SIZE, base_channels=8)),
        "endless": lambda: (endless.Generator(SIZE, base_channels=8), plain),
    }[networks]()
    gan = GAN(generator, discriminator, loss, penalty=penalty, augment=Augment(0.5), gradient_clip=1.0).to("meta")
    trainer = Elsewhere(gan)
    # Which keeps no hold of it.
    gan.trainer = trainer
    labels = torch.zeros(4, dtype=torch.long, device="meta")
    for number in range(6):
        gan.training_step(Batch(torch.rand(4, 1, *SIZE, device="meta"), labels), number)
    gan.calibrate_average()
    sampled = gan.sample(torch.randn(2, gan.latent_dim), torch.zeros(2, dtype=torch.long) if gan.n_classes else None)
    assert sampled.is_meta
    assert all(value.is_meta for value in gan.latest.values())
    assert gan.batches_seen == 6


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
    trained(gan, tmp_path, 0, batches=[batch() for _ in range(250)])
    samples = gan.sample(torch.randn(200, 8, generator=generator))
    halves = torch.stack([samples[..., 2:14].mean(dim=(1, 2, 3)), samples[..., 18:30].mean(dim=(1, 2, 3))])
    bright, dark = halves.max(dim=0).values, halves.min(dim=0).values
    assert float(bright.mean()) == pytest.approx(0.6, abs=0.15)
    assert float(dark.mean()) == pytest.approx(-0.8, abs=0.15)
    share_left = float((halves[0] > halves[1]).float().mean())
    assert 0.2 < share_left < 0.8


def test_generator_moves_after_every_nth_step_of_the_discriminator(tmp_path):
    gan = small_gan(n_discriminator_steps=3, generator_lr=1e-3)
    start = copies(gan.generator)
    trained(gan, tmp_path, 2)
    for name, weight in gan.generator.named_parameters():
        torch.testing.assert_close(weight.detach(), start[name], rtol=0, atol=0)
    trained(gan, tmp_path, 2)  # the fourth batch: one step, of Adam's length
    moved = torch.cat([(weight.detach() - start[n]).abs().flatten() for n, weight in gan.generator.named_parameters()])
    assert float(moved.median()) == pytest.approx(1e-3, rel=0.01)
    assert gan.batches_seen == 4


def test_gradients_are_no_longer_than_asked(tmp_path):
    lengths = []

    class Watched(GAN):
        def _clip(self, network, optimizer):
            super()._clip(network, optimizer)
            lengths.append(float(torch.cat([weight.grad.flatten() for weight in network.parameters()]).norm()))

    # float16's gradients are multiplied by 65,536 first; the CPU's scaler does as a GPU's.
    half = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    for clip, plugins in ((None, []), (1e-4, []), (1e-4, [half])):
        torch.manual_seed(0)
        networks = Generator(SIZE, latent_dim=8, base_channels=8), Discriminator(SIZE, 0, 8, normalization="none")
        trained(Watched(*networks, NonSaturating(), gradient_clip=clip), tmp_path, 2, plugins=plugins)
    free, clipped = lengths[:4], lengths[4:]
    assert min(free) > 3e-4
    assert clipped == pytest.approx([1e-4] * 8, rel=1e-2)
    lengths.clear()
    # One that no gradient reaches changes nothing.
    half = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    torch.manual_seed(0)
    networks = Generator(SIZE, latent_dim=8, base_channels=8), Discriminator(SIZE, 0, 8, normalization="none")
    trained(Watched(*networks, NonSaturating(), gradient_clip=1e3), tmp_path, 2, plugins=[half])
    assert lengths == pytest.approx(free, rel=0.05)


def test_learning_rates_follow_their_schedule(tmp_path):
    gan = small_gan(
        generator_lr=1e-3,
        discriminator_lr=4e-3,
        lr_decay=1.0,  # which the schedule takes the place of
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
    )
    watch = WatchRates()
    trained(gan, tmp_path, 2, n_epochs=3, callbacks=[watch])
    assert watch.seen == [[1e-3, 4e-3], [5e-4, 2e-3], [2.5e-4, 1e-3]]


class WatchRates(Callback):
    """The learning rates of both optimizers at the start of each epoch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.seen.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])


def halved(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


def harmonic(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))


def warmed_up(optimizer):
    return torch.optim.lr_scheduler.LinearLR(optimizer, 0.25, total_iters=3)


def held_then_harmonic(optimizer):
    held = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [held, harmonic(optimizer)], [1])


@pytest.mark.parametrize(
    ("limit", "share", "factors"),
    [
        ({"n_epochs": 5}, 0.5, [1, 1, 1, 0.8, 0.4]),
        ({"n_epochs": 5}, 1.0, [1, 0.8, 0.6, 0.4, 0.2]),
        ({"n_epochs": 5}, 0.0, [1, 1, 1, 1, 1]),
        ({"n_epochs": -1, "max_steps": 20}, 0.5, [1, 1, 1, 0.8, 0.4]),
        ({"n_epochs": 10, "max_steps": 20}, 1.0, [1, 0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_learning_rates_fall_to_the_end_of_the_run(tmp_path, limit, share, factors):
    rates = WatchRates()
    gan = small_gan(generator_lr=1e-3, discriminator_lr=4e-3, lr_decay=share)
    trained(gan, tmp_path, 2, callbacks=[rates], **limit)
    assert rates.seen == [pytest.approx([1e-3 * factor, 4e-3 * factor]) for factor in factors]


def test_learning_rates_fall_with_the_time_that_is_left(tmp_path, monkeypatch):
    rates, clock = WatchRates(), iter(range(1000))
    monkeypatch.setattr(Timer, "time_elapsed", lambda self, stage=None: 100.0 * min(9, next(clock) // 6))
    trained(
        small_gan(generator_lr=1e-3, lr_decay=1.0), tmp_path, 2, n_epochs=9, callbacks=[rates], max_time="00:00:15:00"
    )
    found = [rate for rate, _ in rates.seen]
    assert found[0] == 1e-3
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.75e-3


def test_learning_rates_fall_by_the_clock_of_one_process(tmp_path, monkeypatch):
    # What another process says that has come half-way.
    monkeypatch.setattr(SingleDeviceStrategy, "broadcast", lambda self, value, src=0: 0.5)
    rates = WatchRates()
    trained(small_gan(generator_lr=1e-3, lr_decay=1.0), tmp_path, 2, n_epochs=3, callbacks=[rates])
    assert [rate for rate, _ in rates.seen] == [5e-4] * 3


def stopped_after_two_epochs(tmp_path, **options):
    trained(small_gan(**options), tmp_path, 3, n_epochs=2).trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    return tmp_path / "stopped.ckpt"


@pytest.mark.parametrize(
    ("before", "now", "factors"),
    [
        (None, None, [1, 1]),
        (halved, halved, [1 / 4, 1 / 8]),
        (harmonic, harmonic, [1 / 3, 1 / 4]),
        (held_then_harmonic, held_then_harmonic, [1 / 2, 1 / 3]),
        # A schedule that is new starts, one that is given up leaves what is asked for.
        (None, halved, [1, 1 / 2]),
        (None, warmed_up, [1 / 4, 1 / 2]),
        (halved, None, [1, 1]),
    ],
)
def test_resumed_run_has_the_learning_rates_that_are_asked_for_now(tmp_path, before, now, factors):
    stopped = stopped_after_two_epochs(tmp_path, generator_lr=1e-3, discriminator_lr=4e-3, lr_scheduler=before)
    for rates in ((1e-3, 4e-3), (3e-3, 4e-3), (1e-3, 5e-4)):
        gan = small_gan(generator_lr=rates[0], discriminator_lr=rates[1], lr_scheduler=now)
        watch = WatchRates()
        trained(gan, tmp_path, 3, n_epochs=4, resume=stopped, callbacks=[watch])
        for factor, seen in zip(factors, watch.seen, strict=True):
            assert seen == pytest.approx([factor * rate for rate in rates], rel=1e-12)
        # All else of the optimizers goes on.
        for optimizer in gan.trainer.optimizers:
            assert {int(state["step"]) for state in optimizer.state.values()} == {12}


@pytest.mark.parametrize("schedule", [None, halved, harmonic, held_then_harmonic])
def test_resuming_with_the_same_rates_changes_nothing(tmp_path, schedule):
    options = {"lr_scheduler": schedule, "penalty": R1(1.0, every=5), "n_discriminator_steps": 2}
    stopped = stopped_after_two_epochs(tmp_path, **options)
    resumed = trained(small_gan(**options), tmp_path, 3, n_epochs=3, resume=stopped)
    whole = trained(small_gan(**options), tmp_path, 3, n_epochs=3)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    # What is logged too, also of steps that have not come since.
    assert resumed.latest == whole.latest
    assert resumed.batches_seen == 9


def test_augmentation_is_seen_by_the_discriminator_alone(tmp_path):
    seen = []

    class Watched(Discriminator):
        def forward(self, images, labels=None):
            seen.append(float((images == -1.0).float().mean()))
            return super().forward(images, labels)

    class Black(Augment):
        def forward(self, images):
            return images * 0 - 1

    def gan(augment):
        torch.manual_seed(0)
        networks = Generator(SIZE, latent_dim=8, base_channels=8), Watched(SIZE, base_channels=8, normalization="none")
        return GAN(*networks, RelativisticPairing(), penalty=R1(1.0), augment=augment)

    trained(gan(None), tmp_path, 1)
    assert max(seen) == 0.0
    seen.clear()
    black = trained(gan(Black(0.5, images_to_certainty=64)), tmp_path, 4)
    # Real and fake together in the discriminator's step and alone in the other, and real once more in the penalty.
    assert seen == [1.0] * 16
    # Nothing can be told apart: never sure, so the probability falls by 32 images of 64, to where it stays.
    assert black.augment.probability == 0.0


@pytest.mark.parametrize("n_classes", [0, 3])
def test_one_pass_for_real_and_fake_is_two(tmp_path, n_classes):
    batches = [
        Batch(torch.rand(8, 1, *SIZE, generator=torch.Generator().manual_seed(i)) - 0.5, torch.arange(8) % 3)
        for i in range(4)
    ]
    sizes, gans = [], []

    class Watched(Discriminator):
        def forward(self, images, labels=None):
            sizes.append(len(images))
            return super().forward(images, labels)

    for judges_alone in (True, False):
        torch.manual_seed(0)
        networks = Generator(SIZE, n_classes, 8, 8), Watched(SIZE, n_classes, 8, normalization="none")
        networks[1].judges_alone = judges_alone
        gans.append(trained(GAN(*networks, NonSaturating()), tmp_path, 4, batches=batches))
    assert sizes == [16, 8] * 4 + [8, 8, 8] * 4
    one, two = (gan.state_dict() for gan in gans)
    for name, value in two.items():
        torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-5)
    assert not Discriminator(SIZE, normalization="batch").judges_alone


def test_average_can_be_left_out(tmp_path):
    gan = trained(small_gan(ema_decay=0.0), tmp_path, 3)
    averaged = dict(gan.ema.module.named_parameters())
    for name, weight in gan.generator.named_parameters():
        torch.testing.assert_close(averaged[name], weight.detach(), rtol=0, atol=0)


class Features(torch.nn.Module):
    """A discriminator whose first layer is not to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = torch.nn.Conv2d(1, 4, 4, 4).requires_grad_(False)
        self.last = torch.nn.Linear(256, 1)

    def forward(self, images):
        return self.last(self.fixed(images).relu().flatten(1)).flatten()


def test_weights_that_are_not_to_learn_do_not(tmp_path):
    torch.manual_seed(0)
    discriminator = Features()
    before = copies(discriminator)
    trained(GAN(Generator(SIZE, latent_dim=8, base_channels=8), discriminator, NonSaturating()), tmp_path, 3)
    torch.testing.assert_close(discriminator.fixed.weight, before["fixed.weight"], rtol=0, atol=0)
    assert [weight.requires_grad for weight in discriminator.parameters()] == [False, False, True, True]
    assert not torch.equal(discriminator.last.weight, before["last.weight"])


class Normalised(torch.nn.Module):
    """A generator that keeps the spectral norms of its weights, found batch by batch."""

    latent_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = spectral_norm(torch.nn.Linear(8, SIZE[0] * SIZE[1]))

    def forward(self, latents):
        return self.layer(latents).view(-1, 1, *SIZE).tanh()


def test_what_a_network_keeps_beside_its_weights_is_the_newest(tmp_path):
    torch.manual_seed(0)
    discriminator = Discriminator(SIZE, base_channels=8, normalization="none")
    gan = GAN(Normalised(), discriminator, NonSaturating(), generator_lr=1e-2, ema_decay=0.0)
    begun_with = gan.generator.layer.parametrizations.weight[0]._u.clone()
    trained(gan, tmp_path, 20)
    assert not torch.allclose(gan.generator.layer.parametrizations.weight[0]._u, begun_with, atol=1e-3)
    latents = torch.randn(4, 8)
    with torch.no_grad():
        torch.testing.assert_close(gan.sample(latents), gan.generator.eval()(latents), rtol=0, atol=0)


def test_latest_losses_are_the_last_batchs(tmp_path):
    gan = trained(small_gan(penalty=R1(2.0, every=4)), tmp_path, 1)
    assert set(gan.latest) == {"loss/discriminator", "loss/generator", "loss/penalty", "logits/real", "logits/fake"}
    fresh, images = small_gan(), torch.rand(8, 1, *SIZE, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(derive_seed(0, "step", 0, 0))
        real_logits = fresh.discriminator(images)
        fake_logits = fresh.discriminator(fresh.generator(torch.randn(8, 8)))
    expected = NonSaturating().discriminator(real_logits, fake_logits)
    assert float(gan.latest["loss/discriminator"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(gan.latest["logits/real"]) == pytest.approx(float(real_logits.mean()), abs=1e-5)
    assert float(gan.latest["logits/fake"]) == pytest.approx(float(fake_logits.mean()), abs=1e-5)
    # The penalty as it would be if it came every batch.
    expected = R1(2.0)(fresh.discriminator, images, images)
    assert float(gan.latest["loss/penalty"]) == pytest.approx(float(expected.detach()), rel=1e-4)


def test_bfloat16_trains(tmp_path):
    full, half = (
        trained(small_gan(penalty=R1(1.0), augment=Augment(0.2)), tmp_path, 3, precision=precision)
        for precision in ("32-true", "bf16-mixed")
    )
    for name, weight in half.named_parameters():
        assert weight.dtype == torch.float32
        assert weight.isfinite().all(), name
    for name in ("loss/discriminator", "loss/generator"):
        assert half.latest[name].dtype == torch.float32
        assert float(half.latest[name]) == pytest.approx(float(full.latest[name]), abs=0.05)


def test_it_learns_which_label_is_which(tmp_path):
    """Label 0 is bright on the left, label 1 on the right."""
    generator = torch.Generator().manual_seed(0)

    def batch() -> Batch:
        labels = torch.randint(2, (16,), generator=generator)
        images = torch.full((16, 1, *SIZE), -0.8)
        images[labels == 0, :, :, :16] = 0.6
        images[labels == 1, :, :, 16:] = 0.6
        return Batch(images + 0.05 * torch.randn(images.shape, generator=generator), labels)

    torch.manual_seed(0)
    gan = GAN(
        Generator(SIZE, 2, latent_dim=8, base_channels=8),
        Discriminator(SIZE, 2, base_channels=8, normalization="none"),
        NonSaturating(),
        penalty=R1(1.0, every=2),
        generator_lr=1e-3,
        discriminator_lr=1e-3,
        ema_decay=0.95,
    )
    trained(gan, tmp_path, 0, batches=[batch() for _ in range(400)])
    labels = torch.arange(200) % 2
    samples = gan.sample(torch.randn(200, 8, generator=generator), labels)
    left = samples[..., 2:14].mean(dim=(1, 2, 3)) > samples[..., 18:30].mean(dim=(1, 2, 3))
    assert float((left == (labels == 0)).float().mean()) > 0.98


def test_networks_must_be_told_the_same():
    with pytest.raises(InputError, match="must both be told the labels"):
        GAN(Generator(SIZE, 3), Discriminator(SIZE), NonSaturating())


def test_batch_norm_and_penalty_are_refused():
    with pytest.raises(InputError, match="normalization"):
        GAN(Generator(SIZE), Discriminator(SIZE, normalization="batch"), NonSaturating(), penalty=R1(1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_discriminator_steps": 0}, "1 or more"),
        ({"gradient_clip": 0.0}, "above 0"),
        ({"gradient_clip": float("nan")}, "above 0"),
        ({"generator_lr": -1.0}, r"generator_lr is -1.0; it must lie in \[0, 1\]"),
        ({"discriminator_lr": float("nan")}, r"discriminator_lr is nan; it must lie in \[0, 1\]"),
        ({"betas": (0.5, 1.0)}, r"betas is \[0.5, 1.0\]; decay rates must lie in \[0, 1\)"),
        ({"ema_decay": 1e30}, r"ema_decay is 1e\+30; decay rates must lie in \[0, 1\)"),
        ({"lr_decay": 1.5}, r"lr_decay is 1.5; it is a share of the run"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        small_gan(**options)


def test_what_is_no_generator_or_discriminator_is_refused():
    with pytest.raises(InputError, match=r"model\.generator is Identity, which has no attribute latent_dim"):
        GAN(torch.nn.Identity(), Discriminator(SIZE), NonSaturating())
    with pytest.raises(InputError, match=r"model\.discriminator is Identity, which has no weights to train"):
        GAN(Generator(SIZE), torch.nn.Identity(), NonSaturating())


def test_a_schedule_that_waits_for_a_loss_is_refused(tmp_path):
    with pytest.raises(InputError, match="ReduceLROnPlateau, which waits for a loss to stop falling"):
        trained(small_gan(lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau), tmp_path, 1)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_compiled_networks_learn_the_same_under_the_same_names(tmp_path, monkeypatch):
    """By the part of the compiler that needs no compiler of another language; what it cannot do, it raises."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(compiled, backend="aot_eager"))
    # A penalty is differentiated twice.
    options = {"penalty": R1(1.0, every=2), "generator_lr": 1e-4, "discriminator_lr": 1e-4}
    plain = trained(small_gan(**options), tmp_path, 4)
    fast = trained(small_gan(**options, compile=True), tmp_path, 4)
    assert fast.generator._compiled_call_impl is not None
    assert fast.ema.module._compiled_call_impl is None
    expected, found = plain.state_dict(), fast.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=name)
