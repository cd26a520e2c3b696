"""What is logged is what was asked for: levels, gain, pictures, silence."""

import io
import itertools

import numpy as np
import pytest
import soundfile
import torch
from conftest import SMALL
from PIL import Image

from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.errors import InputError
from gan.listen.callbacks import Listen
from gan.listen.clips import Clips
from gan.listen.picture import colour, jpeg
from gan.listen.sounds import Sound
from gan.sound.encoder import encode_recordings
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.pghi import PGHIGriffinLim
from gan.sound.recording import quieter_db
from gan.sound.spectrogram import db_from_image, magnitude_from_db


class Writer:
    """Stands for TensorBoard's."""

    def __init__(self):
        self.audio, self.images, self.texts = {}, {}, {}

    def add_audio(self, tag, sound, step, sample_rate):
        assert sample_rate == SMALL.sample_rate
        self.audio[tag, step] = sound

    def add_text(self, tag, text, step):
        self.texts[tag, step] = text

    def flush(self):
        pass


def add_picture(writer, tag, picture, shape, step):
    assert Image.open(io.BytesIO(picture)).size == shape[::-1]
    writer.images[tag, step] = picture


class FixedModel:
    """Stands for a GAN: gives back the images that it holds."""

    latent_dim, n_classes, seed, batches_seen, device = 4, 0, 0, 0, torch.device("cpu")

    def __init__(self, images):
        self.images = images
        self.latents = []

    def sample(self, latents, labels):
        assert labels is None
        self.latents.append(latents)
        return self.images


class FixedTrainer:
    """Stands for Lightning's."""

    is_global_zero, current_epoch, loggers = True, 0, ()

    def __init__(self, data):
        self.datamodule = data


@pytest.fixture
def listening(tmp_path, sound, monkeypatch):
    """A callback, its trainer and writer, and images of eight recordings, the quietest 40 dB below the loudest."""
    (tmp_path / "recordings").mkdir()
    for index in range(8):
        waveform = 10 ** (-2 * index / 7) * sound(2016, seed=index, sample_rate=8000)
        soundfile.write(tmp_path / "recordings" / f"{index}.wav", waveform, 8000, "FLOAT")
    encode_recordings(tmp_path / "recordings", tmp_path / "images", SMALL)
    data = ImageData(tmp_path / "images", n_frames=64, batch_size=2, validation_fraction=0.0)
    data.setup()
    writer = Writer()
    monkeypatch.setattr("gan.listen.callbacks.writers_of", lambda trainer: [writer])
    monkeypatch.setattr("gan.listen.callbacks.add_picture", add_picture)
    monkeypatch.setattr("gan.listen.callbacks.GAN", FixedModel)
    monkeypatch.setattr("gan.listen.callbacks.clips_of", lambda trainer: Clips(tmp_path / "run"))
    return Listen(PGHIGriffinLim, n_samples=3), FixedTrainer(data), writer


def test_real_and_inverted_have_one_gain(listening):
    listen, trainer, writer = listening
    listen.on_train_start(trainer, FixedModel(None))
    pictures = {tag.replace("image", "audio") for tag, _ in writer.images}
    assert pictures == {tag for tag, _ in writer.audio} | {"grid/references"}
    assert {tag for tag, _ in writer.audio} == {
        f"audio/{kind}_{index}" for kind in ("real", "inverted") for index in range(3)
    }
    assert max(float(waveform.abs().max()) for waveform in writer.audio.values()) == pytest.approx(0.5, abs=0.05)
    levels = []
    for index in range(3):
        real, inverted = writer.audio[f"audio/real_{index}", 0], writer.audio[f"audio/inverted_{index}", 0]
        assert real.shape == inverted.shape
        levels.append(float(20 * torch.log10(real.square().mean().sqrt())))
        assert float(20 * torch.log10(inverted.square().mean().sqrt())) == pytest.approx(levels[-1], abs=1.0)
    # Recordings lie 40 / 7 dB apart; differences are heard as they are.
    assert max(levels) - min(levels) > 10


def test_equal_levels_lift_the_real_ones_too(listening):
    _, trainer, writer = listening
    data = ImageData(trainer.datamodule.images, n_frames=64, batch_size=2, equal_levels=True)
    data.setup()
    Listen(PGHIGriffinLim, n_samples=3).on_train_start(FixedTrainer(data), FixedModel(None))
    for index in range(3):
        real, inverted = (writer.audio[f"audio/{kind}_{index}", 0].square().mean() for kind in ("real", "inverted"))
        assert float(10 * torch.log10(real / inverted)) == pytest.approx(0, abs=0.5)


def test_clips_begin_and_end_without_a_click(listening):
    listen, trainer, writer = listening
    listen.on_train_start(trainer, FixedModel(None))
    for sound in writer.audio.values():
        assert float(sound[0]) == float(sound[-1]) == 0.0
        assert float(sound[1:4].abs().max()) < 0.05


def test_real_crop_is_the_recording_of_its_image(listening):
    listen, trainer, writer = listening
    listen.on_train_start(trainer, FixedModel(None))
    image = trainer.datamodule.crops()[Crop(4, 0)].images
    magnitude = magnitude_from_db(db_from_image(image[0, 0], trainer.datamodule.scale)) * listen._gain
    scores = [
        float(spectral_convergence_db(writer.audio[f"audio/real_{index}", 0], magnitude, SMALL)) for index in range(3)
    ]
    assert sorted(scores)[0] < -15
    assert sorted(scores)[1] > -10


def test_recordings_that_are_gone_are_left_out(listening, tmp_path):
    listen, trainer, writer = listening
    for path in (tmp_path / "recordings").iterdir():
        path.unlink()
    listen.on_train_start(trainer, FixedModel(None))
    assert {tag for tag, _ in writer.audio} == {f"audio/inverted_{index}" for index in range(3)}


def test_samples_keep_their_levels_and_latents(listening):
    listen, trainer, writer = listening
    data = trainer.datamodule
    images = torch.stack([data.crops()[Crop(index, 0)].images[0] for index in (0, 7)] + [torch.full((1, 64, 64), -1.0)])
    model = FixedModel(images)
    listen.on_train_start(trainer, model)
    model.batches_seen = 12
    listen.on_train_epoch_end(trainer, model)
    model.batches_seen = 24
    listen.on_train_epoch_end(trainer, model)
    torch.testing.assert_close(model.latents[0], model.latents[1], rtol=0, atol=0)
    loud, quiet, silent = (writer.audio[f"audio/sample_{index}", 12] for index in range(3))
    ratio_db = 20 * torch.log10(loud.square().mean().sqrt() / quiet.square().mean().sqrt())
    # As the recordings were made; louder than full scale, it was made quieter by what is said.
    lost_db = quieter_db(writer.texts["audio/sample_0", 12])
    assert lost_db > 3
    assert float(ratio_db) + lost_db == pytest.approx(40, abs=1)
    assert set(writer.texts) == {("audio/sample_0", 12), ("audio/sample_0", 24)}
    assert float(silent.abs().max()) < 2e-3
    torch.testing.assert_close(loud, writer.audio["audio/sample_0", 24], rtol=0, atol=0)


class LabelledModel(FixedModel):
    """Stands for a GAN whose image of label 1 is the loudest recording and of label 0 a silence."""

    n_classes = 2

    def sample(self, latents, labels):
        self.latents.append(latents)
        return self.images[labels]


def test_samples_of_labels_come_in_turn_and_under_their_names(listening, monkeypatch):
    listen, trainer, writer = listening
    data = trainer.datamodule
    data.class_names = ["bell", "low/drum"]
    monkeypatch.setattr("gan.listen.callbacks.GAN", LabelledModel)
    model = LabelledModel(torch.stack([torch.full((1, 64, 64), -1.0), data.crops()[Crop(0, 0)].images[0]]))
    model.batches_seen = 5
    listen.on_train_epoch_end(trainer, model)
    assert set(writer.audio) == {(f"audio/sample_{name}", 5) for name in ("0_bell", "1_low-drum", "2_bell")}
    levels = {tag.rpartition("_")[2]: float(sound.abs().max()) for (tag, _), sound in writer.audio.items()}
    assert levels["bell"] < 2e-3
    assert levels["low-drum"] > 0.05
    assert model.latents[0].shape == (3, 4)


def test_neighbours_are_beside_their_samples(listening):
    listen, trainer, writer = listening
    data = trainer.datamodule
    crops = [Crop(0, 0), Crop(7, 0), Crop(4, 0)]
    images = data.crops().__getitems__(crops).images
    model = FixedModel(images)
    listen.on_train_start(trainer, FixedModel(None))
    model.batches_seen = 9
    listen.on_train_epoch_end(trainer, model)
    listen.log_neighbours(trainer, model, crops)
    for index in range(3):
        # The samples are these very crops: both must sound alike, at the same gain.
        sample, neighbour = (writer.audio[f"audio/sample_{index}{end}", 9] for end in ("", "_neighbour"))
        torch.testing.assert_close(neighbour, sample, rtol=0, atol=0)
        assert writer.images[f"image/sample_{index}_neighbour", 9] == jpeg(colour(images[index, 0]))
    loud, quiet = (writer.audio[f"audio/sample_{index}_neighbour", 9].square().mean() for index in (0, 1))
    lost_db = quieter_db(writer.texts["audio/sample_0_neighbour", 9])
    assert float(10 * torch.log10(loud / quiet)) + lost_db == pytest.approx(40, abs=1)


def test_what_is_no_number_or_too_loud_is_made_playable(listening, tmp_path):
    listen, trainer, writer = listening
    crop = trainer.datamodule.crops()[Crop(7, 0)].images[0]
    model = FixedModel(torch.stack([torch.ones(1, 64, 64), torch.full((1, 64, 64), torch.nan), crop]))
    listen.on_train_start(trainer, model)
    model.batches_seen = 12
    listen.on_train_epoch_end(trainer, model)
    loud, broken, quiet = (writer.audio[f"audio/sample_{index}", 12] for index in range(3))
    true = listen._gain * listen._waveforms(model.images, trainer.datamodule)
    # As a whole, and not sample by sample: a clipped one is another sound.
    assert float(true[0].abs().max()) > 2.0
    middle = slice(100, -100)
    gain = float(loud[middle].abs().max() / true[0, middle].abs().max())
    torch.testing.assert_close(loud[middle], gain * true[0, middle], rtol=0, atol=1e-6)
    assert 0.9 < float(loud.abs().max()) < 1.0
    assert float(broken.abs().max()) == 0.0
    # What fits has its true level.
    torch.testing.assert_close(quiet[middle], true[2, middle], rtol=0, atol=1e-6)
    # It is said beside it, and in the file of the clip.
    assert set(writer.texts) == {("audio/sample_0", 12)}
    said = writer.texts["audio/sample_0", 12]
    clips = Clips(tmp_path / "run").moments()[0].clips
    for name, text in (
        ("sample_0", f"sample_0, epoch 1, batch 12, {said}"),
        ("sample_2", "sample_2, epoch 1, batch 12"),
    ):
        with soundfile.SoundFile(clips[name].sound) as file:
            assert file.comment == text
            np.testing.assert_allclose(file.read(), writer.audio[f"audio/{name}", 12], rtol=0, atol=2**-15)
    assert quieter_db(said) == pytest.approx(-20 * np.log10(gain), abs=0.006)
    assert Sound.of(clips["sample_0"]).quieter_db == quieter_db(said)
    assert Sound.of(clips["sample_2"]).quieter_db == 0.0


def test_resumed_run_logs_no_reference_twice_but_keeps_the_gain(listening):
    listen, trainer, writer = listening
    listen.on_train_start(trainer, FixedModel(None))
    again = Listen(PGHIGriffinLim, n_samples=3)
    resumed = FixedModel(None)
    resumed.batches_seen = 100
    writer.audio.clear()
    again.on_train_start(trainer, resumed)
    assert writer.audio == {}
    assert again._gain == listen._gain


def test_every_n_epochs(listening):
    _, trainer, writer = listening
    listen = Listen(PGHIGriffinLim, n_samples=3, every_n_epochs=2)
    model = FixedModel(torch.zeros(3, 1, 64, 64))
    for epoch in range(4):
        trainer.current_epoch = epoch
        model.batches_seen = 10 * (epoch + 1)
        listen.on_train_epoch_end(trainer, model)
    assert [step for tag, step in writer.audio if tag == "audio/sample_0"] == [20, 40]


def test_other_ranks_are_quiet(listening):
    listen, trainer, writer = listening
    trainer.is_global_zero = False
    listen.on_train_start(trainer, FixedModel(None))
    listen.on_train_epoch_end(trainer, FixedModel(None))
    assert writer.audio == writer.images == {}


def test_pictures_are_upright_and_coloured():
    image = torch.full((64, 32), -1.0)
    image[0] = 1.0  # the lowest frequency is loud
    picture = colour(image)
    assert picture.shape == (64, 32, 3)
    assert picture[-1].min() > 180  # at the bottom, pale
    assert picture[0].max() < 10  # black above
    ramp = colour(torch.linspace(-1, 1, 64).expand(2, -1))[0].astype(float)
    luminance = ramp @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > -1).all(), "brighter is louder"


def test_what_is_heard_is_kept_as_files(listening, tmp_path):
    listen, trainer, writer = listening
    images = trainer.datamodule.crops().__getitems__([Crop(0, 0), Crop(4, 0), Crop(7, 0)]).images
    model = FixedModel(images)
    listen.on_train_start(trainer, model)
    for epoch in range(3):
        trainer.current_epoch, model.batches_seen = epoch, 5 * (epoch + 1)
        listen.on_train_epoch_end(trainer, model)
    listen.log_neighbours(trainer, model, [Crop(0, 0)] * 3)
    clips = Clips(tmp_path / "run")
    moments = clips.moments()
    assert [(moment.epoch, moment.batches_seen) for moment in moments] == [(1, 5), (2, 10), (3, 15)]
    assert list(moments[0].clips) == ["sample_0", "sample_1", "sample_2"]
    assert list(moments[2].clips) == [f"sample_{index}{end}" for index in range(3) for end in ("", "_neighbour")]
    logged = {(name, 0): clip for name, clip in clips.references().items()}
    logged |= {(name, moment.batches_seen): clip for moment in moments for name, clip in moment.clips.items()}
    assert {(f"audio/{name}", step) for name, step in logged} == set(writer.audio)
    for (name, step), clip in logged.items():
        waveform, sample_rate = soundfile.read(clip.sound, dtype="float32")
        assert sample_rate == SMALL.sample_rate
        np.testing.assert_allclose(waveform, writer.audio[f"audio/{name}", step], rtol=0, atol=2**-15)
        assert clip.picture.read_bytes() == writer.images[f"image/{name}", step]

    # A resumed run hears again what came after its checkpoint.
    model.batches_seen = 12
    Listen(PGHIGriffinLim, n_samples=3).on_train_start(trainer, model)
    assert [moment.batches_seen for moment in clips.moments()] == [5, 10]
    assert len(clips.references()) == 6


def test_no_files_if_none_are_wanted(listening, tmp_path):
    _, trainer, writer = listening
    listen = Listen(PGHIGriffinLim, n_samples=3, n_kept=0)
    model = FixedModel(torch.zeros(3, 1, 64, 64))
    listen.on_train_start(trainer, model)
    listen.on_train_epoch_end(trainer, model)
    assert len(writer.audio) == 9
    assert not (tmp_path / "run").exists()


def test_kept_epochs_are_thinned_evenly(tmp_path):
    clips = Clips(tmp_path)
    for epoch in range(1, 101):
        clips.write("a", np.zeros(8, np.float32), 8000, b"", (epoch, 10 * epoch))
        clips.thin(10)
        kept = [moment.epoch for moment in clips.moments()]
        assert kept[0] == 1
        assert kept[-1] == epoch
        assert min(10, epoch) >= len(kept) >= min(5, epoch)
    assert kept == [1, 16, 32, 48, 64, 80, 96, 100]
    for epoch in range(110, 400, 10):
        clips.write("a", np.zeros(8, np.float32), 8000, b"", (epoch, 10 * epoch))
        clips.thin(10, every=10)
    assert [moment.epoch for moment in clips.moments()] == [1, 80, 160, 240, 320, 390]


def test_senseless_options_are_refused():
    with pytest.raises(InputError, match=r"n_kept is 1; it must be 2 or more, or 0"):
        Listen(PGHIGriffinLim, n_kept=1)
    for option, value in itertools.product(("n_samples", "n_references"), (0, 10**12)):
        with pytest.raises(InputError, match=rf"listen\.{option} is {value}; it must lie in \[1, 1000\]"):
            Listen(PGHIGriffinLim, **{option: value})
    with pytest.raises(InputError, match=r"listen\.every_n_epochs is 0; it must be 1 or more"):
        Listen(PGHIGriffinLim, every_n_epochs=0)
