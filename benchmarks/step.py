"""What a batch costs: written by hand, as PyTorch's DCGAN example has it, and by `python train.py` with all of it.

python benchmarks/step.py [--epochs 3] [--size 128x128] [OPTIONS OF train.py]     a quarter of an hour on two cores

On an accelerator, for each of 128x128, 256x256 and 1024x256:
python benchmarks/step.py --size 256x256 --trainer.precision bf16-mixed --model.compile true

The same networks, batches and loss, by turns: after each batch of a real training the same batch is given to
loops of a few lines that do nothing but train copies of its networks: `plain` as one writes it first, `example` as
pytorch/examples/dcgan does (a backward pass and a number read for each part), `tuned` with what makes ours fast, the
precision and the compiler if they are asked for. What ours does at the end of each epoch, listening, validating and
saving, is added in the last column. Operations, those of penalties left out, are counted by torch, and set against a
matrix product of the same minutes and precision.

Without --config it is the recipe of configs/dcgan.yaml, whose loss the example can have, with 32 channels; without
--data.images crops of 1300 sounds that are made for it.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from lightning import Callback, LightningModule, Trainer  # noqa: E402
from lightning.pytorch.plugins import Precision  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.optim import Adam  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import train  # noqa: E402
from gan.data.demo import make_demo  # noqa: E402
from gan.model.gan import GAN  # noqa: E402
from gan.model.losses import NonSaturating  # noqa: E402
from gan.sound.encoder import encode_recordings  # noqa: E402
from gan.sound.settings import SpectrogramSettings  # noqa: E402
from gan.training import run_training  # noqa: E402

# Of the matrices that are multiplied to find out what the machine can do, and an accelerator.
_SIDE, _SIDE_THERE = 3072, 8192


class Plain:
    """The same step as ours, in as few lines as it can be written in."""

    memory_format = torch.contiguous_format
    fused = False

    def __init__(self, gan: GAN) -> None:
        self.gan = gan
        self.n_batches = 0
        self.generator = copy.deepcopy(gan.generator).to(memory_format=self.memory_format)
        self.discriminator = copy.deepcopy(gan.discriminator).to(memory_format=self.memory_format)
        self.optimizer_g = Adam(self.generator.parameters(), gan.generator_lr, gan.betas, fused=self.fused or None)
        self.optimizer_d = Adam(
            self.discriminator.parameters(), gan.discriminator_lr, gan.betas, fused=self.fused or None
        )

    @property
    def has_penalty(self) -> bool:
        """Whether the next batch has one."""
        return self.gan.penalty is not None and self.n_batches % self.gan.penalty.every == 0

    def step(self, real: Tensor) -> None:
        """Both networks' step with a batch."""
        gan, loss = self.gan, self.gan.loss
        real = real.contiguous(memory_format=self.memory_format)
        fake = self.generator(torch.randn(len(real), gan.latent_dim, device=real.device))
        loss_d = loss.discriminator(*self.judge(real, fake.detach()))
        if self.has_penalty and gan.penalty is not None:
            loss_d = loss_d + gan.penalty(self.discriminator, real, fake.detach())
        self.optimizer_d.zero_grad()
        loss_d.backward()
        self.optimizer_d.step()
        self.before_generator()
        real_logits = self.discriminator(real) if loss.relative else torch.zeros(1)
        loss_g = loss.generator(real_logits, self.discriminator(fake))
        self.optimizer_g.zero_grad()
        loss_g.backward()
        self.optimizer_g.step()
        self.after_generator()
        self.n_batches += 1

    def judge(self, real: Tensor, fake: Tensor) -> Sequence[Tensor]:
        """Logits of both."""
        return self.discriminator(real), self.discriminator(fake)

    def before_generator(self) -> None:
        """Nothing."""

    def after_generator(self) -> None:
        """Nothing."""


class Tuned(Plain):
    """With all that makes ours fast, and the average of the weights."""

    memory_format = torch.channels_last
    fused = True

    def __init__(self, gan: GAN, precision: Precision) -> None:
        super().__init__(gan)
        self.precision = precision
        if gan._is_to_compile:
            self.generator.compile(dynamic=False)
            self.discriminator.compile(dynamic=False)
        self.averages = [weight.detach().clone() for weight in self.generator.parameters()]

    def step(self, real: Tensor) -> None:
        """In the precision of the training."""
        with self.precision.forward_context():
            super().step(real)

    def judge(self, real: Tensor, fake: Tensor) -> Sequence[Tensor]:
        """In one pass, where there is no batch normalisation."""
        if not self.discriminator.judges_alone:
            return super().judge(real, fake)
        logits: Tensor = self.discriminator(torch.cat([real, fake]))
        return logits.chunk(2)

    def before_generator(self) -> None:
        """The discriminator's weights need no gradient now."""
        self.discriminator.requires_grad_(False)

    def after_generator(self) -> None:
        """Average."""
        torch._foreach_lerp_(self.averages, [weight.detach() for weight in self.generator.parameters()], 0.005)
        self.discriminator.requires_grad_(True)


class Example(Plain):
    """As pytorch/examples/dcgan/main.py goes through a batch, with our networks."""

    def step(self, real: Tensor) -> None:
        """Both networks' step with a batch."""
        cross_entropy, ones = nn.BCEWithLogitsLoss(), torch.ones(len(real), device=real.device)
        real = real.contiguous()
        self.discriminator.zero_grad()
        output = self.discriminator(real)
        loss_real = cross_entropy(output, ones)
        loss_real.backward()
        said = [output.mean().item()]
        fake = self.generator(torch.randn(len(real), self.gan.latent_dim, device=real.device))
        output = self.discriminator(fake.detach())
        loss_fake = cross_entropy(output, 0 * ones)
        loss_fake.backward()
        said += [output.mean().item(), (loss_real + loss_fake).item()]
        self.optimizer_d.step()
        self.generator.zero_grad()
        output = self.discriminator(fake)
        loss_g = cross_entropy(output, ones)
        loss_g.backward()
        said += [output.mean().item(), loss_g.item()]
        self.optimizer_g.step()


class SideBySide(Callback):
    """Gives each batch of a training to the loops, and keeps how long each takes."""

    def __init__(self) -> None:
        self.batches: list[dict[str, float]] = []
        self.ends: list[float] = []
        self.n_operations = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the networks."""
        assert isinstance(pl_module, GAN)
        if pl_module.n_classes:
            raise SystemExit("the loops know of no labels")
        self.precision = trainer.precision_plugin
        self.loops = {"tuned": Tuned(pl_module, self.precision), "plain": Plain(pl_module)}
        if isinstance(pl_module.loss, NonSaturating) and pl_module.penalty is None:
            self.loops["example"] = Example(pl_module)
        side = _SIDE if pl_module.device.type == "cpu" else _SIDE_THERE
        self.matrices = torch.randn(2, side, side, device=pl_module.device)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """An epoch is over when the next one's first batch is there: all that lies between was its end."""
        if batch_idx == 0:
            if self.batches:
                self.ends.append(self._seconds_since())
            self._seconds_since()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """By turns."""
        seconds = {"ours": self._seconds_since()}
        self.images = batch.images
        for name, loop in self.loops.items():
            loop.step(self.images)
            seconds[name] = self._seconds_since()
        with self.precision.forward_context():
            torch.matmul(*self.matrices)
        self.batches.append(seconds | {"product": self._seconds_since()})
        tuned = self.loops["tuned"]
        # The counter cannot see through a penalty's derivatives of derivatives.
        if not self.n_operations and not tuned.has_penalty:
            with FlopCounterMode(display=False) as counter:
                tuned.step(self.images)
            self.n_operations = counter.get_total_flops()
        self._seconds_since()

    def _seconds_since(self) -> float:
        """Since this was asked for last."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        before, self._since = getattr(self, "_since", 0.0), time.perf_counter()
        return self._since - before

    def report(self, n_epochs: int) -> None:
        """Print the table, of all epochs but the first, in which much is done for once."""
        n_batches, n_images = len(self.batches) // n_epochs, len(self.images)
        # Of four batches one may have a penalty; the median of such fours leaves out what others did to the machine.
        fours = list(zip(*[iter(self.batches[n_batches:])] * 4, strict=False))
        means = {name: [sum(each[name] for each in four) / 4 for four in fours] for name in self.batches[0]}
        product = statistics.median(means.pop("product"))
        end = statistics.median(self.ends) / n_batches
        peak = 2 * self.matrices.shape[-1] ** 3 / product
        shape = " x ".join(map(str, self.images.shape[2:]))
        about = f"{n_images} images of {shape}, {n_batches} batches an epoch, {torch.get_num_threads()} threads"
        print(f"\n{about}, {self.n_operations / 1e9:.0f} GFLOP a batch; a matrix product: {peak / 1e9:,.0f} GFLOP/s")
        print("| | images/s | share of the matrix product's | ours is x times as fast | with ends of epochs |")
        print("| --- | --- | --- | --- | --- |")
        ours = means["ours"]
        for name, seconds in means.items():
            typical = statistics.median(seconds)
            share = self.n_operations / typical / peak
            ratio = statistics.median(other / own for other, own in zip(seconds, ours, strict=True))
            whole = typical / (statistics.median(ours) + end)
            print(f"| {name} | {n_images / typical:.1f} | {share:.0%} | {ratio:.2f} | {whole:.2f} |")


def main() -> int:
    """Train by turns, print."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", default="128x128")
    given, options = parser.parse_known_args()
    n_freqs, n_frames = map(int, given.size.split("x"))
    beside = SideBySide()

    class TurnsCLI(train.GANCLI):
        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            trainer = super().instantiate_trainer(**kwargs)
            trainer.callbacks.append(beside)  # type: ignore[attr-defined]
            return trainer

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if not any(option.startswith("--data.images") for option in options):
            make_demo(folder)
            # A sound of a second is as long as a crop, or longer.
            n_fft = 2 * n_freqs
            hop_length = min(8192 // n_frames, n_fft // 4)
            settings = SpectrogramSettings(sample_rate=8000, n_fft=n_fft, hop_length=hop_length, win_length=n_fft)
            encode_recordings(folder / "recordings", folder / "small", settings)
            options = [f"--data.images={folder / 'small'}", f"--data.n_frames={n_frames}", *options]
        if not any(option.startswith("--config") for option in options):
            recipe = [f"--config={ROOT / 'configs/dcgan.yaml'}", "--data.batch_size=64", "--model.ema_decay=0.995"]
            recipe += [f"--model.{network}.init_args.base_channels=32" for network in ("generator", "discriminator")]
            options = [*recipe, *options]
        options += [f"--trainer.max_epochs={given.epochs + 1}", f"--trainer.default_root_dir={folder / 'runs'}"]
        if code := run_training(TurnsCLI, options):
            return code
    beside.report(given.epochs + 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
