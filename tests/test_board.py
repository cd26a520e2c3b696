"""How a run stands in TensorBoard: layout, card, settings beside results, sheets."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SMALL
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from gan.listen.board import Board, add_picture
from gan.listen.picture import colour, jpeg
from gan.listen.sheet import Sheet
from gan.run import Run
from gan.sound.spectrogram import ImageScale

CONFIG = """\
data:
  batch_size: 4
  figures:
    box: null
model:
  generator:
    class_path: gan.model.dcgan.Generator
    init_args:
      base_channels: 8
  augment: null
  betas: [0.5, 0.9]
seed_everything: 3
trainer: {}
"""


class Model:
    """Stands for a GAN."""

    batches_seen = 0


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A board that has seen two epochs of a run, and what it logged."""
    monkeypatch.setattr("gan.listen.board.GAN", Model)
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.config.write_text(CONFIG)
    logger = TensorBoardLogger(tmp_path, "", "run", default_hp_metric=False)
    trainer = SimpleNamespace(loggers=[logger], is_global_zero=True, current_epoch=1, max_epochs=2)
    pace, model = SimpleNamespace(seconds=float("nan")), Model()
    made = Board(run, lambda: ["images: 12 of them", "generator: 3 M weights"], pace)
    made.on_train_start(trainer, model)
    for epoch, seconds in enumerate((7.5, 9.0)):
        trainer.current_epoch, pace.seconds = epoch, seconds
        model.batches_seen = 5 * (epoch + 1)
        made.on_train_epoch_end(trainer, model)
    made.on_train_end(trainer, model)
    logger.experiment.close()
    events = EventAccumulator(str(run.folder), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


def test_card_says_what_is_trained_and_how_long_an_epoch_takes(board):
    cards = [(event.step, event.tensor_proto.string_val[0].decode()) for event in board.Tensors("run/text_summary")]
    assert [step for step, _ in cards] == [0, 5, 10]
    for _, card in cards:
        assert card.startswith("- images: 12 of them\n- generator: 3 M weights\n")
        assert "\n    data:\n      batch_size: 4\n" in card
    assert "time" not in cards[0][1].partition("config.yaml")[0]
    assert "- time: 7.5 s an epoch, 1 of 2" in cards[1][1]
    assert "- time: 9.0 s an epoch, 2 of 2" in cards[2][1]


def test_layout_groups_curves(board):
    summary = board.summary_metadata["custom_scalars__config__"]
    assert summary.plugin_data.plugin_name == "custom_scalars"
    layout = layout_pb2.Layout.FromString(board.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for group in layout.category for chart in group.chart}
    assert [group.title for group in layout.category] == ["training", "quality", "watchdog", "time"]
    assert charts["losses"] == ["loss/generator", "loss/discriminator"]
    assert len({tag for tags in charts.values() for tag in tags}) == sum(map(len, charts.values()))


def test_settings_stand_beside_results(board):
    content = {tag: board.summary_metadata[tag].plugin_data.content for tag in board.summary_metadata}
    start = plugin_data_pb2.HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
    assert {name: value.WhichOneof("kind") for name, value in start.hparams.items()} == {
        "data.batch_size": "number_value",
        "model.generator": "string_value",
        "model.generator.base_channels": "number_value",
        "model.augment": "string_value",
        "model.betas": "string_value",
        "seed": "number_value",
    }
    assert start.hparams["model.generator.base_channels"].number_value == 8
    assert start.hparams["model.generator"].string_value == "gan.model.dcgan.Generator"
    assert start.hparams["model.betas"].string_value == "[0.5, 0.9]"
    end = plugin_data_pb2.HParamsPluginData.FromString(content["_hparams_/session_end_info"]).session_end_info
    assert end.status == 1  # success
    # Without it TensorBoard finds the curves of every run in the folder, not only of the first one's data.
    assert "_hparams_/experiment" not in content


def test_pictures_are_logged_as_they_are(tmp_path):
    logger = TensorBoardLogger(tmp_path, "", "run")
    file = jpeg(colour(torch.linspace(-1, 1, 32 * 48).reshape(32, 48)))
    add_picture(logger.experiment, "image/a", file, (32, 48), 7)
    logger.experiment.close()
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0})
    events.Reload()
    (found,) = events.Images("image/a")
    assert (found.step, found.height, found.width, found.encoded_image_string) == (7, 32, 48, file)
    picture = np.asarray(Image.open(io.BytesIO(file)))
    assert np.abs(picture - colour(torch.linspace(-1, 1, 32 * 48).reshape(32, 48)).astype(float)).mean() < 3


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_sheet_holds_its_images_where_their_axes_are(n):
    sheet = Sheet([f"sample_{index}" for index in range(n)], 64, SMALL, ImageScale(0.0, 80.0))
    silent = torch.full((n, 1, 64, 64), -1.0)
    before = sheet.draw(silent)
    for index in range(n):
        images = silent.clone()
        images[index, :, :16] = 1.0  # the lowest quarter of the frequencies
        after = sheet.draw(images)
        rows, columns = (before != after).any(2).nonzero()
        box = sheet._boxes[index]
        assert columns.min() == box[0]
        assert columns.max() == box[0] + box[2] - 1
        assert rows.max() == box[1] + box[3] - 1
        assert rows.min() == pytest.approx(box[1] + 0.75 * box[3], abs=2)
        assert after[rows.max(), columns.min()].min() > 180


def test_a_sheet_has_axes_in_hertz_and_seconds():
    sheet = Sheet(["a"], 64, SMALL, ImageScale(0.0, 80.0))
    (axis,) = sheet._axes
    assert axis.get_xlim() == pytest.approx((0, 64 * SMALL.hop_length / SMALL.sample_rate))
    assert axis.get_ylim() == (0, SMALL.sample_rate / 2)
    assert [label.get_text() for label in axis.get_yticklabels()][1].endswith("kHz")
