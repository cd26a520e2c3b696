"""What stands in TensorBoard of an evaluated training, and which of its checkpoints is the best."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import SMALL_RUN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from gan.errors import InputError
from gan.evaluate.evaluation import Evaluation, Group, table
from gan.listen.callbacks import Listen
from gan.listen.evaluate import Evaluate
from gan.listen.picture import colour, jpeg
from gan.run import Run, newest_run
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.pghi import PGHIGriffinLim
from gan.trained import load_run, open_data

SMALL = [
    *SMALL_RUN,
    "--data.images=images",
    "--data.validation_fraction=0.5",
    "--listen.n_samples=2",
    "--listen.n_references=1",
    "--evaluate.n_images=20",
]


@pytest.fixture
def here(tmp_path, write_image, monkeypatch):
    """A working folder with images of 40 recordings, half of which are held out: five batches an epoch."""
    for index in range(40):
        write_image(tmp_path / "images" / f"{index:02d}.png", n_frames=64, seed=index)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def run_train(*arguments: str) -> Run:
    assert train.run_training(train.GANCLI, arguments) == 0
    return newest_run(Path("runs"))


def events(run: Run) -> EventAccumulator:
    return EventAccumulator(
        str(run.folder), size_guidance=dict.fromkeys(("scalars", "audio", "images", "tensors"), 0)
    ).Reload()


TEXT = "metric/of_known_sounds/text_summary"


def test_numbers_text_and_neighbours(here):
    arguments = ["--evaluate.every_n_epochs=2", "--trainer.max_epochs=4"]
    run = run_train(*SMALL, *arguments)
    logged = events(run)
    # The numbers of the last epoch, measured again from its checkpoint.
    trained = load_run(run)
    data = open_data(run, run.newest_checkpoint())
    evaluation = Evaluation(data, 20)
    images = evaluation.samples(trained.gan).images
    row = evaluation.rows([Group("samples", images)])["samples"]
    assert {tag for tag in logged.Tags()["scalars"] if tag.startswith("metric/")} == {f"metric/{name}" for name in row}
    for name, value in row.items():
        found = logged.Scalars(f"metric/{name}")
        assert [event.step for event in found] == [10, 20]
        assert found[1].value == pytest.approx(value, rel=1e-5, abs=1e-6), name
    (text,) = logged.Tensors(TEXT)
    assert text.step == 10
    phase = DeepGriffinLim(data.settings, n_iter=16)
    assert text.tensor_proto.string_val[0].decode() == table(evaluation.rows(evaluation.known(phase)))

    # Beside each sample the training crop that it is nearest to.
    crops = evaluation.neighbourhoods(Listen(PGHIGriffinLim, n_samples=2).samples(trained.gan))[0].crops
    assert {crop.image for crop in crops} <= set(data.train_images)
    expected = data.crops().__getitems__(crops).images
    waveforms = waveform_from_image(expected, data.scale, phase)
    for index in range(2):
        assert [event.step for event in logged.Images(f"image/sample_{index}_neighbour")] == [10, 20]
        audio = logged.Audio(f"audio/sample_{index}_neighbour")
        assert [event.step for event in audio] == [10, 20]
        picture = logged.Images(f"image/sample_{index}_neighbour")[1].encoded_image_string
        assert picture == jpeg(colour(expected[index, 0]))
        sound = soundfile.read(io.BytesIO(audio[1].encoded_audio_string))[0]
        assert np.corrcoef(sound[50:-50], waveforms[index][50:-50])[0, 1] > 0.999

    run_train("--resume", *arguments[:1], "--trainer.max_epochs=6")
    logged = events(run)
    assert [event.step for event in logged.Scalars("metric/frechet_mel_n20")] == [10, 20, 30]
    assert [event.step for event in logged.Audio("audio/sample_0")] == [5, 10, 15, 20, 25, 30]
    assert len(logged.Tensors(TEXT)) == 1


def test_best_checkpoint_is_of_the_least_distance(here, monkeypatch):
    distances: list[float] = []
    monkeypatch.setattr(Evaluation, "measure", lambda self, *_: {self.criterion: distances.pop(0)})
    monkeypatch.setattr(Evaluation, "rows", lambda *_: {"noise": {}})

    def train_until(epoch: int, *given: float) -> Run:
        distances[:] = given
        resume = ["--resume"] if epoch > 2 else [*SMALL, "--evaluate.every_n_epochs=1"]
        run = run_train(*resume, f"--trainer.max_epochs={epoch}")
        assert distances == []
        return run

    run = train_until(2, 3.0, 2.0)
    best, newest = (torch.load(path, weights_only=True) for path in (run.best_checkpoint, run.newest_checkpoint()))
    assert best["batches_seen"] == newest["batches_seen"] == 10
    for name, value in newest["state_dict"].items():
        torch.testing.assert_close(best["state_dict"][name], value, rtol=0, atol=0)
    for epoch, batches, *given in ((4, 10, 2.5, 2.0), (5, 10, float("nan")), (6, 10, 2.2), (8, 40, 1.9, 1.0)):
        train_until(epoch, *given)
        trained = load_run(run, run.best_checkpoint)
        assert trained.batches_seen == batches
        # The newest is still the newest.
        assert load_run(run).batches_seen == 5 * epoch
    assert trained.gan.sample(torch.zeros(1, trained.gan.latent_dim)).shape == (1, 1, 64, 64)


def test_distances_of_other_blocks_are_not_compared():
    callback = Evaluate(PGHIGriffinLim)
    assert callback.state_dict() == {"best": {}}
    logged = []

    class Stub:
        criterion = "frechet_mel_n60"
        distance = 5.0

        def samples(self, gan):
            return Group("samples", torch.zeros(1))

        def neighbourhoods(self, *groups):
            return [None] * len(groups)

        def measure(self, images, labels):
            return {self.criterion: self.distance}

        def memory(self, found):
            return {}

    class Logger:
        @staticmethod
        def log_metrics(values, step):
            logged.append((values, step))

    class Model:
        batches_seen = 7

    class StubTrainer:
        loggers, callbacks = [Logger], []

    callback.load_state_dict({"best": {"frechet_mel_n20": 1.0}})
    callback._evaluation = Stub()
    assert callback._measure(StubTrainer(), Model())
    assert callback.state_dict() == {"best": {"frechet_mel_n60": 5.0}}
    assert not callback._measure(StubTrainer(), Model())
    Stub.distance = 4.9
    assert callback._measure(StubTrainer(), Model())
    assert logged[0] == ({"metric/frechet_mel_n60": 5.0}, 7)


def test_too_few_crops_are_said_once(here, capsys):
    for path in sorted(Path("images").iterdir())[24:]:
        path.unlink()
    run = run_train(*SMALL, "--evaluate.every_n_epochs=1", "--trainer.max_epochs=3")
    said = capsys.readouterr().out
    assert said.count("note: nothing is measured: images: 12 different training crops are too few") == 1
    assert "epoch 3 of 3" in said
    assert not [tag for tag in events(run).Tags()["scalars"] if tag.startswith("metric/")]
    assert not run.best_checkpoint.exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("every_n_epochs", 0, "it must be 1 or more"),
        *(("n_images", value, r"it must lie in \[20, 100000\], 500 is usual") for value in (0, 19, 10**12)),
    ],
)
def test_senseless_options_are_refused(option, value, message):
    with pytest.raises(InputError, match=rf"evaluate\.{option} is {value}; {message}"):
        Evaluate(PGHIGriffinLim, **{option: value})
