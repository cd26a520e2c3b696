"""What is said and when, once; and nothing that is no number gets into a checkpoint."""

import json

import pytest
import soundfile
import torch
from conftest import SMALL
from lightning import Trainer

from gan.checkpoints import Checkpoints
from gan.data.datamodule import ImageData
from gan.errors import Diverged, InputError
from gan.listen.watchdog import Watchdog
from gan.model.dcgan import Discriminator, Generator
from gan.model.gan import GAN
from gan.model.losses import NonSaturating
from gan.run import Run
from gan.sound.encoder import encode_recordings
from gan.sound.phase.pghi import PGHIGriffinLim
from gan.training import TrainingCLI, run_training


class Writer:
    """Stands for TensorBoard's."""

    def __init__(self):
        self.texts = {}

    def add_text(self, tag, text, step):
        assert tag == "watchdog"
        self.texts[step] = text


class FixedModel:
    """Stands for a GAN whose samples are given and whose losses are healthy."""

    latent_dim, n_classes, seed, device, batches_seen = 4, 0, 0, torch.device("cpu"), 0
    loss = NonSaturating()

    def __init__(self):
        self.generator = self.discriminator = self.ema = torch.nn.Linear(2, 2)
        self.latents, self.labels = [], []

    def sample(self, latents, labels=None):
        self.latents.append(latents)
        self.labels.append(labels)
        return self.images


class FixedTrainer:
    """Stands for Lightning's."""

    is_global_zero, loggers, log_every_n_steps, log_dir = True, (), 10, None

    class strategy:  # noqa: N801
        @staticmethod
        def reduce_boolean_decision(decision, all):  # noqa: A002
            return decision

    def __init__(self, data):
        self.datamodule = data


@pytest.fixture
def data(tmp_path, sound):
    """Crops of twelve recordings."""
    (tmp_path / "recordings").mkdir()
    for index in range(12):
        soundfile.write(tmp_path / "recordings" / f"{index}.wav", sound(4064, index, 8000), 8000, "FLOAT")
    encode_recordings(tmp_path / "recordings", tmp_path / "images", SMALL)
    data = ImageData(tmp_path / "images", n_frames=64, batch_size=2, validation_fraction=0.0)
    data.setup()
    return data


@pytest.fixture
def watching(data, monkeypatch):
    """`epoch(watchdog, images, real_logit=0.3)` has a model make these images at the end of an epoch of 30 batches."""
    writer, model, trainer = Writer(), FixedModel(), FixedTrainer(data)
    monkeypatch.setattr("gan.listen.watchdog.writers_of", lambda trainer: [writer])
    monkeypatch.setattr("gan.listen.watchdog.GAN", FixedModel)

    def epoch(watchdog, images, real_logit=0.3):
        trainer.current_epoch = model.batches_seen // 30
        model.images = images
        if not hasattr(watchdog, "_real"):
            watchdog.on_train_start(trainer, model)
        watchdog.on_train_epoch_start(trainer, model)
        for batch in range(30):
            real, fake = torch.tensor(real_logit + 0.01 * (batch % 3)), torch.tensor(-real_logit)
            model.latest = {
                "loss/discriminator": model.loss.discriminator(real[None], fake[None]),
                "loss/generator": model.loss.generator(real[None], fake[None]),
                "logits/real": real,
                "logits/fake": fake,
            }
            model.batches_seen += 1
            watchdog.on_train_batch_end(trainer, model, None, None, batch)
        watchdog.on_train_epoch_end(trainer, model)

    epoch.model, epoch.trainer, epoch.writer = model, trainer, writer
    return epoch


@pytest.fixture
def good(data):
    """Eight real crops, none of those that the watchdog looks at first."""
    crops = [crop for batch in data._sampler() for crop in batch]
    return data.crops().__getitems__(crops[:8]).images


SILENT = torch.full((8, 1, 64, 64), -1.0)


def lines(capsys) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("watchdog")]


def test_says_once_what_is_new_and_once_that_it_is_gone(watching, good, capsys):
    watchdog = Watchdog(PGHIGriffinLim, patience=2, grace_batches=0)
    said = []
    for images in (good, SILENT, SILENT, SILENT, good, SILENT, good, good, good):
        watching(watchdog, images)
        said.append(lines(capsys))
    assert [len(each) for each in said] == [0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert said[2][0].startswith("watchdog: silence: 8 of 8 samples are silent")
    assert "; try: lower model.discriminator_lr" in said[2][0]
    assert said[7] == ["watchdog: silence: gone"]
    # The text tab has what there is, at the batches when it changed.
    assert watching.writer.texts.keys() == {90, 240}
    assert "- **silence**: 8 of 8 samples are silent" in watching.writer.texts[90]
    assert watching.writer.texts[240] == "nothing is wrong any more"
    for latents in watching.model.latents:
        torch.testing.assert_close(latents, watching.model.latents[0], rtol=0, atol=0)


def test_says_what_is_wrong_with_losses(watching, good, capsys):
    watchdog = Watchdog(PGHIGriffinLim, patience=2, grace_batches=0)
    for _ in range(2):
        watching(watchdog, good, real_logit=9.0)
    won, runs_away = sorted(lines(capsys))
    # Twice log(1 + exp(-9)) and log(1 + exp(9)).
    assert "discriminator has won: the discriminator's loss is 0.000 all epoch long (it would be 1.39 if" in won
    assert "logits of real ones 9.0, of samples -9.0" in won
    assert "the generator's loss is 9.0, 13 times" in runs_away


def test_grace_and_every_n_epochs(watching, capsys):
    watchdog = Watchdog(PGHIGriffinLim, every_n_epochs=2, patience=1, grace_batches=60)
    said = []
    for _ in range(4):
        watching(watchdog, SILENT)
        said.append(len(lines(capsys)))
    assert said == [0, 0, 0, 1]
    assert len(watching.model.latents) == 1


def test_resumed_run_does_not_repeat_itself(watching, good, capsys):
    watchdog = Watchdog(PGHIGriffinLim, patience=2, grace_batches=0)
    for _ in range(2):
        watching(watchdog, SILENT)
    watching(watchdog, good)
    assert len(lines(capsys)) == 1
    resumed = Watchdog(PGHIGriffinLim, patience=2, grace_batches=0)
    resumed.load_state_dict(json.loads(json.dumps(watchdog.state_dict())))
    assert resumed.state_dict() == watchdog.state_dict()
    watching(resumed, good)
    assert lines(capsys) == ["watchdog: silence: gone"]


def test_other_ranks_are_quiet(watching, capsys):
    watchdog = Watchdog(PGHIGriffinLim, patience=1, grace_batches=0)
    watchdog._real = None
    watching.trainer.is_global_zero = False
    watching(watchdog, SILENT)
    assert lines(capsys) == []
    assert watching.model.latents == []


def test_classes_are_sampled_in_pairs(watching, good):
    watching.model.n_classes = 10
    watching(Watchdog(PGHIGriffinLim, grace_batches=0), good)
    assert watching.model.labels[0].tolist() == [0, 0, 3, 3, 6, 6, 9, 9]


def test_losses_are_read_every_few_batches_only(watching, good):
    """In between they stay on the device."""
    watchdog = Watchdog(PGHIGriffinLim, grace_batches=0)
    watching.trainer.log_every_n_steps = 20
    watching(watchdog, good)
    assert [len(read) for read in watchdog._read] == [20, 10]


def test_loss_that_is_no_number_is_dated(watching, good):
    watchdog = Watchdog(PGHIGriffinLim, grace_batches=0)
    watching(watchdog, good)
    watching.model.loss = type("Broken", (NonSaturating,), {"generator": lambda *_: torch.tensor(float("inf"))})()
    with pytest.raises(Diverged, match=r"^loss/generator is not a number since about batch 31, .* no checkpoint yet"):
        watching(watchdog, good)
    assert watching.model.batches_seen == 40  # when it was looked at


@pytest.mark.parametrize("options", [{"every_n_epochs": 0}, {"patience": 0}, {"grace_batches": -1}])
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError, match="it must be"):
        Watchdog(PGHIGriffinLim, **options)


class Breaking(GAN):
    """A weight is no number after some batches."""

    def __init__(self, network: str, at_batch: int):
        torch.manual_seed(0)
        super().__init__(
            Generator((64, 64), latent_dim=8, base_channels=4),
            Discriminator((64, 64), base_channels=4, normalization="none"),
            NonSaturating(),
        )
        self.network, self.at_batch = network, at_batch

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        if self.batches_seen == self.at_batch:
            with torch.no_grad():
                next(getattr(self, self.network).parameters())[0, 0, 0, 0] = float("nan")


def fit(module, data, *callbacks, n_epochs: int, log_every_n_steps: int = 4) -> None:
    """Five batches an epoch."""
    trained = ImageData(data.images, n_frames=64, batch_size=4, validation_fraction=0.05)
    trainer = Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        default_root_dir=data.images.parent,
        logger=False,
        enable_checkpointing=any(isinstance(callback, Checkpoints) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        max_epochs=n_epochs,
        log_every_n_steps=log_every_n_steps,
    )
    trainer.fit(module, datamodule=trained)


@pytest.mark.parametrize(
    ("network", "at_batch", "said"),
    [
        # Looked at after 4, 5, 8, 10, 12 and 15.
        ("generator", 10, "^a weight of the generator is not a number since about batch 10,"),
        ("generator", 11, "^loss/discriminator is not a number since about batch 12,"),  # the next losses
        ("discriminator", 15, "^a weight of the discriminator is not a number since about batch 15,"),
        ("ema", 13, "^a weight of the averaged generator is not a number since about batch 15,"),
    ],
)
def test_no_checkpoint_has_what_is_no_number(network, at_batch, said, data):
    with pytest.raises(Diverged, match=said) as error:
        fit(Breaking(network, at_batch), data, Checkpoints(), Watchdog(PGHIGriffinLim), n_epochs=4)
    last_epoch = (at_batch - 1) // 5 - 1
    saved = Run(data.images.parent).checkpoints()[0]
    assert saved.name == f"epoch_{last_epoch:04d}.ckpt"
    assert f"{saved} is the last good checkpoint and is kept" in str(error.value)
    assert "\n" not in str(error.value)
    state = torch.load(saved, weights_only=True)
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    assert state["batches_seen"] == 5 * (last_epoch + 1)
    assert state["callbacks"]["Watchdog"].keys() == {"streaks", "open", "losses"}


def test_no_checkpoint_in_the_middle_of_an_epoch_has_it(data):
    """Nothing is looked at yet, but a checkpoint is asked for."""
    checkpoints = Checkpoints(every_minutes=0)
    with pytest.raises(Diverged, match="a weight of the averaged generator is not a number since about batch 3"):
        fit(Breaking("ema", 3), data, checkpoints, Watchdog(PGHIGriffinLim), n_epochs=1, log_every_n_steps=100)
    saved = [path.name for path in Run(data.images.parent).checkpoints()]
    assert saved == ["in_epoch_0000_batch_00000002.ckpt", "in_epoch_0000_batch_00000001.ckpt"]


def test_training_ends_with_one_line(capsys):
    class Command(TrainingCLI):
        command = "python train.py"

        def __init__(self, arguments):
            pass

        def train(self):
            raise Diverged("loss/generator is not a number")

    assert run_training(Command, []) == 1
    assert capsys.readouterr().err == "train.py: loss/generator is not a number\n"


def test_training_is_not_disturbed(data):
    """The same weights with and without, also in what random numbers are drawn."""
    watched, alone = Breaking("generator", 1000), Breaking("generator", 1000)
    fit(watched, data, Watchdog(PGHIGriffinLim, grace_batches=0), n_epochs=2)
    after = torch.rand(1)
    fit(alone, data, n_epochs=2)
    torch.testing.assert_close(after, torch.rand(1), rtol=0, atol=0)
    for name, value in watched.state_dict().items():
        torch.testing.assert_close(value, alone.state_dict()[name], rtol=0, atol=0)
