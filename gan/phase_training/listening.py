"""What is heard and measured of a training: excerpts that were not learnt from, with the phase found for them."""

from functools import partial
from pathlib import Path

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from gan.errors import InputError
from gan.phase_training.data import StepData
from gan.phase_training.module import PhaseTraining
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.pghi import PGHIGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

WEIGHTS = "phase_steps.safetensors"
_MEASURED = 12


class PhaseListening(Callback):
    """Writes the weights into the run's folder, and puts what they sound like into TensorBoard.

    `real` is an excerpt that was not learnt from, `pghi_N` and `deep_N` are made of its magnitude with N iterations of
    fast Griffin-Lim after PGHI and after the network. `metric/deep_N` and `metric/pghi_N` are the mean spectral
    convergence of up to a dozen such excerpts, in dB.

    Args:
        every_n_epochs: Epochs from one time to the next; the last epoch is always heard.
        n_excerpts: Number of excerpts to play, at most. With the defaults all cards are on one page of TensorBoard.
        iterations: The numbers N.

    Raises:
        InputError: If one of them is out of range.
    """

    def __init__(self, every_n_epochs: int = 5, n_excerpts: int = 2, iterations: tuple[int, ...] = (0, 5)) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("n_excerpts", n_excerpts)):
            if value < 1:
                raise InputError(f"listen.{name} is {value}; it must be 1 or more")
        if not iterations or min(iterations) < 0:
            raise InputError(f"listen.iterations is {list(iterations)}; it must be a list of numbers of 0 or more")
        self.every_n_epochs = every_n_epochs
        self.n_excerpts = n_excerpts
        self.iterations = iterations

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the excerpts themselves and what PGHI makes of them, unless a resumed run has them already."""
        if not trainer.is_global_zero or _seen(trainer):
            return
        for number, excerpt in enumerate(_data(trainer).validation_excerpts[: self.n_excerpts]):
            self._play(trainer, f"real_{number}", excerpt)
        for n_iter in self.iterations:
            self._hear(trainer, f"pghi_{n_iter}", partial(PGHIGriffinLim, n_iter=n_iter))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, measure, log."""
        epoch = trainer.current_epoch + 1
        if not trainer.is_global_zero or (epoch % self.every_n_epochs and epoch != trainer.max_epochs):
            return
        assert isinstance(pl_module, PhaseTraining)
        path = Path(trainer.log_dir or ".") / WEIGHTS
        data = _data(trainer)
        pl_module.network.save(path, {"recordings": str(data.recordings), "steps": _seen(trainer)})
        for n_iter in self.iterations:
            self._hear(trainer, f"deep_{n_iter}", partial(DeepGriffinLim, n_iter=n_iter, weights=path))

    def _hear(self, trainer: Trainer, name: str, method: PhaseMethod) -> None:
        data = _data(trainer)
        n_fft = max(data.n_ffts)
        settings = SpectrogramSettings(data.sample_rate, n_fft, n_fft // 4, n_fft)
        levels_db = []
        for number, excerpt in enumerate(data.validation_excerpts[:_MEASURED]):
            magnitude = magnitude_from_waveform(excerpt, settings)
            waveform = method(settings)(magnitude, len(excerpt))
            levels_db.append(float(spectral_convergence_db(waveform, magnitude, settings)))
            if number < self.n_excerpts:
                self._play(trainer, f"{name}_{number}", waveform)
        for logger in trainer.loggers:
            logger.log_metrics({f"metric/{name}": float(np.nanmean(levels_db))}, step=_seen(trainer))

    def _play(self, trainer: Trainer, name: str, waveform: Tensor) -> None:
        waveform = waveform.nan_to_num(0.0, 0.0, 0.0)
        peak = float(waveform.abs().max())
        sound = waveform / (2 * peak) if peak else waveform
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                rate = _data(trainer).sample_rate
                logger.experiment.add_audio(f"audio/{name}", sound, _seen(trainer), sample_rate=rate)
                logger.experiment.flush()


def _data(trainer: Trainer) -> StepData:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, StepData)
    return data


def _seen(trainer: Trainer) -> int:
    module = trainer.lightning_module
    assert isinstance(module, PhaseTraining)
    return module.batches_seen
