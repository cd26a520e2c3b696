"""What is heard and seen of a training in TensorBoard."""

from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.errors import InputError
from gan.listen.board import add_picture, writers_of
from gan.listen.clips import Clips
from gan.listen.picture import colour, jpeg
from gan.listen.render import fade_ends, in_a_name
from gan.listen.sheet import Sheet
from gan.listen.symptoms import HEADROOM
from gan.model.gan import GAN
from gan.seed import derive_seed
from gan.sound.channel import MIX
from gan.sound.codec import read_header
from gan.sound.inversion import image_from_waveform, waveform_from_image
from gan.sound.mixdown import Mixdown
from gan.sound.phase.reconstructor import PhaseMethod, PhaseReconstructor
from gan.sound.recording import fit_full_scale, read_excerpt
from gan.sound.settings import SpectrogramSettings

# The loudest real crop is played at this peak, -6 dBFS.
_REAL_PEAK = 1.0 / HEADROOM
# As many of a tag as TensorBoard is told to keep.
_MOST_SOUNDS = 1000


class Listen(Callback):
    """Sounds and pictures in TensorBoard: real ones once at the start, generated ones every epoch.

    `real` is a stretch of a recording (if it is still where it was encoded from), `inverted` is the same stretch
    turned into an image and back, so that one hears what the inversion does and what the GAN does. `sample` are
    generated from the same latents every time, in turn of each class if the networks know the labels. All are played
    with one gain, so that levels can be compared; one that is louder than full scale is made quieter so that it does
    not clip, and a text under its name and the comment of its file say by how much. Pictures stand under the names of
    their sounds, and once more all together, `grid/references` and `grid/samples`, with axes in Hz and seconds.

    Args:
        n_samples: Number of generated sounds.
        n_references: Number of real sounds. With the defaults all cards are on one page of TensorBoard, until there are
            neighbours too.
        every_n_epochs: Epochs from one set of samples to the next.
        n_kept: Most epochs whose sounds and pictures are kept as files in the run's folder, see `gan.listen.clips`;
            beyond that every second one is deleted, the first and the last never. 0 to keep none.
        phase: How images become sound: a class of `gan.sound.phase` with its options.
    """

    def __init__(
        self,
        phase: PhaseMethod,
        n_samples: int = 6,
        n_references: int = 3,
        every_n_epochs: int = 1,
        n_kept: int = 100,
    ) -> None:
        for name, value in (("n_samples", n_samples), ("n_references", n_references)):
            if not 1 <= value <= _MOST_SOUNDS:
                raise InputError(f"listen.{name} is {value}; it must lie in [1, {_MOST_SOUNDS}]")
        if every_n_epochs < 1:
            raise InputError(f"listen.every_n_epochs is {every_n_epochs}; it must be 1 or more")
        if n_kept < 0 or n_kept == 1:
            raise InputError(f"listen.n_kept is {n_kept}; it must be 2 or more, or 0 to keep no files")
        self.n_samples = n_samples
        self.n_references = n_references
        self.every_n_epochs = every_n_epochs
        self.n_kept = n_kept
        self.phase = phase
        self._reconstruct: PhaseReconstructor | None = None
        self._gain = 1.0
        self._sheets: dict[str, Sheet] = {}

    def prepare(self, settings: SpectrogramSettings) -> None:
        """Make what finds the phase of images on a grid, before there is a run's folder.

        Raises:
            InputError: If it refuses its options or the grid.
        """
        self._reconstruct = self.phase(settings)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the gain; log real crops and their inversion, unless a resumed run has them already."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, GAN)
        data = data_of(trainer)
        crops = _spread(data, self.n_references)
        images = data.crops().__getitems__(crops).images.to(pl_module.device)
        inverted = self._waveforms(images, data)
        real = [_real_waveform(data, crop, inverted.shape[-1]) for crop in crops]
        references = [waveform.nan_to_num(0.0, 0.0, 0.0) for waveform in (inverted, *real) if waveform is not None]
        peak = max(float(waveform.abs().max()) for waveform in references)
        self._gain = _REAL_PEAK / peak if peak > 0 else 1.0
        if pl_module.batches_seen > 0:
            clips_of(trainer).forget_after(pl_module.batches_seen)
            return
        heard = image_from_waveform(inverted, data.settings, data.scale)
        for index, waveform in enumerate(real):
            self._log(trainer, pl_module, f"inverted_{index}", inverted[index], heard[index])
            if waveform is not None:
                self._log(trainer, pl_module, f"real_{index}", waveform, images[index])
        names = [f"{sort}_{index}" for sort in ("real", "inverted") for index in range(len(crops))]
        self._log_sheet(trainer, pl_module, "references", names, torch.cat((images, heard)))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log samples of the fixed latents."""
        if not trainer.is_global_zero or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        assert isinstance(pl_module, GAN)
        data = data_of(trainer)
        images = self.samples(pl_module)
        names = self.names(pl_module, data)
        for name, waveform, image in zip(names, self._waveforms(images, data), images, strict=True):
            self._log(trainer, pl_module, name, waveform, image)
        self._log_sheet(trainer, pl_module, "samples", names, images)
        if self.n_kept:
            clips_of(trainer).thin(self.n_kept, self.every_n_epochs)

    def samples(self, gan: GAN) -> Tensor:
        """What is listened to: images of the same latents every time."""
        generator = torch.Generator().manual_seed(derive_seed(gan.seed, "listen"))
        latents = torch.randn(self.n_samples, gan.latent_dim, generator=generator)
        return gan.sample(latents, torch.arange(self.n_samples) % gan.n_classes if gan.n_classes else None)

    def names(self, gan: GAN, data: ImageData) -> list[str]:
        """Their names in TensorBoard."""
        if not gan.n_classes:
            return [f"sample_{index}" for index in range(self.n_samples)]
        labels = [in_a_name(data.class_names[index % gan.n_classes]) for index in range(self.n_samples)]
        return [f"sample_{index}_{label}" for index, label in enumerate(labels)]

    def log_neighbours(self, trainer: Trainer, gan: GAN, crops: list[Crop]) -> None:
        """Log the training crops that samples are nearest to, beside them.

        Args:
            trainer: The trainer.
            gan: The model.
            crops: Of each of the samples.
        """
        data = data_of(trainer)
        images = data.crops().__getitems__(crops).images.to(gan.device)
        waveforms = self._waveforms(images, data)
        for name, waveform, image in zip(self.names(gan, data), waveforms, images, strict=True):
            self._log(trainer, gan, f"{name}_neighbour", waveform, image)

    def _waveforms(self, images: Tensor, data: ImageData) -> Tensor:
        # Once: its weights are read from a file, which leaves a little memory behind each time.
        if self._reconstruct is None:
            self.prepare(data.settings)
        assert self._reconstruct is not None
        # A network that diverged makes what no phase can be found for; that is silence, and no end of the training.
        playable = images.isfinite().flatten(1).all(1)
        waveforms = waveform_from_image(images.nan_to_num(0.0, 0.0, 0.0), data.scale, self._reconstruct)
        return waveforms * playable[:, None]

    def _log(self, trainer: Trainer, gan: GAN, name: str, waveform: Tensor, image: Tensor) -> None:
        sample_rate, step = data_of(trainer).settings.sample_rate, gan.batches_seen
        sound, picture = waveform.cpu() * self._gain, jpeg(colour(image[0]))
        fade_ends(sound, sample_rate)
        fitted = fit_full_scale(sound.numpy())
        for writer in writers_of(trainer):
            writer.add_audio(f"audio/{name}", torch.from_numpy(fitted.waveform), step, sample_rate=sample_rate)
            if fitted.note:
                writer.add_text(f"audio/{name}", fitted.note, step)
            add_picture(writer, f"image/{name}", picture, image.shape[1:], step)
            writer.flush()
        if self.n_kept:
            when = (trainer.current_epoch + 1, step) if step else None
            clips_of(trainer).write(name, sound.numpy(), sample_rate, picture, when)

    def _log_sheet(self, trainer: Trainer, gan: GAN, name: str, names: list[str], images: Tensor) -> None:
        data = data_of(trainer)
        if name not in self._sheets:
            self._sheets[name] = Sheet(names, data.n_frames, data.settings, data.scale)
        picture = self._sheets[name].draw(images)
        for writer in writers_of(trainer):
            add_picture(writer, f"grid/{name}", jpeg(picture), picture.shape[:2], gan.batches_seen)


def data_of(trainer: Trainer) -> ImageData:
    """The images that are trained on."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ImageData)
    return data


def clips_of(trainer: Trainer) -> Clips:
    """The files that are kept of what is heard."""
    # Not trainer.log_dir, for which all processes have to ask at once.
    logger = trainer.logger
    assert isinstance(logger, TensorBoardLogger)
    return Clips(Path(logger.log_dir))


def _spread(data: ImageData, n_crops: int) -> list[Crop]:
    """Crops of images spread evenly over the training set, each from the middle of its image."""
    chosen = np.linspace(0, len(data.train_images) - 1, n_crops + 2).round().astype(int)[1:-1]
    crops = []
    for index in (data.train_images[place] for place in chosen):
        crops.append(Crop(index, max(0, data.store.images.n_frames[index] - data.n_frames) // 2))
    return crops


def _real_waveform(data: ImageData, crop: Crop, n_samples: int) -> Tensor | None:
    """The recording's own sound of a crop; None if the recording is no longer there."""
    image = data.store.images[crop.image]
    settings = data.settings
    start_second = image.start_second + crop.start * settings.hop_length / settings.sample_rate
    try:
        origin = None if image.look is not None else read_header(data.images / image.file).origin
        mixdown = Mixdown(MIX if origin is None else origin.channel)
        excerpt = read_excerpt(data.images / image.recording, settings.sample_rate, start_second, n_samples, mixdown)
    except (InputError, OSError):
        return None
    waveform = torch.from_numpy(excerpt)
    if data.equal_levels and image.level_db is not None:
        # As the GAN sees it: lifted to the level that its images are played at.
        waveform *= 10.0 ** ((data.scale.top_db - image.level_db) / 20.0)
    return waveform
