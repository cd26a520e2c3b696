"""The numbers of `gan evaluate` while a GAN trains, and the best checkpoint by them."""

import math
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from gan.errors import InputError
from gan.evaluate.classifier import open_classifier
from gan.evaluate.evaluation import N_NEIGHBOURS, Evaluation, check_n_images, table
from gan.listen.board import writers_of
from gan.listen.callbacks import Listen, data_of
from gan.model.gan import GAN
from gan.run import Run
from gan.sound.phase.reconstructor import PhaseMethod


class Evaluate(Callback):
    """Measures samples every few epochs, keeps the best checkpoint, and lets the nearest training crops be heard.

    The numbers are `gan.evaluate.evaluation.Evaluation`'s, under `metric/`; those of held-out recordings, of the same
    inverted and of noise stand in TensorBoard's text tab, once. The best checkpoint is the one whose Frechet distance
    to the training crops is least.

    Args:
        phase: How images become sound: the method that is listened to.
        every_n_epochs: Epochs from one measurement to the next.
        n_images: Generated images and training crops that are compared.

    Raises:
        InputError: If a number makes no sense.
    """

    def __init__(self, phase: PhaseMethod, every_n_epochs: int = 10, n_images: int = 500) -> None:
        if every_n_epochs < 1:
            raise InputError(f"evaluate.every_n_epochs is {every_n_epochs}; it must be 1 or more")
        check_n_images(n_images, "evaluate.n_images", usual=500)
        self.phase = phase
        self.every_n_epochs = every_n_epochs
        self.n_images = n_images
        # By its name, which changes if a run is resumed with other recordings held out.
        self._best: dict[str, float] = {}
        self._evaluation: Evaluation | None = None
        self._too_few = False

    def state_dict(self) -> dict[str, Any]:
        """The best distance so far, for a checkpoint."""
        return {"best": dict(self._best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self._best = dict(state_dict["best"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if it is time."""
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        assert isinstance(pl_module, GAN)
        better = trainer.is_global_zero and self._measure(trainer, pl_module)
        if trainer.strategy.broadcast(better):
            assert trainer.log_dir is not None
            trainer.save_checkpoint(Run(Path(trainer.log_dir)).best_checkpoint)

    def _measure(self, trainer: Trainer, gan: GAN) -> bool:
        """Log the numbers; returns whether they are the best so far."""
        evaluation = self._open(trainer, gan)
        if evaluation is None:
            return False
        listening = [callback for callback in trainer.callbacks if isinstance(callback, Listen)]  # type: ignore[attr-defined]
        _, images, labels = evaluation.samples(gan)
        found, *heard = evaluation.neighbourhoods(
            images[:N_NEIGHBOURS], *(callback.samples(gan).cpu() for callback in listening)
        )
        row = evaluation.measure(images, labels) | evaluation.memory(found)
        for logger in trainer.loggers:
            logger.log_metrics({f"metric/{name}": value for name, value in row.items()}, step=gan.batches_seen)
        for callback, near in zip(listening, heard, strict=True):
            callback.log_neighbours(trainer, gan, near.crops)
        distance = row[evaluation.criterion]
        # Nor is what is no number.
        if not distance < self._best.get(evaluation.criterion, math.inf):
            return False
        self._best = {evaluation.criterion: distance}
        return True

    def _open(self, trainer: Trainer, gan: GAN) -> Evaluation | None:
        # Not before it is needed: sounds come first.
        if self._evaluation is None and not self._too_few:
            data = data_of(trainer)
            try:
                classifier = open_classifier(data) if len(data.class_names) > 1 else None
                self._evaluation = Evaluation(data, self.n_images, classifier)
            except InputError as error:
                # Training is of use all the same.
                print(f"note: nothing is measured: {error}")
                self._too_few = True
                return None
            if self._evaluation.criterion not in self._best:
                known = table(self._evaluation.rows(self._evaluation.known(self.phase(data.settings))))
                for writer in writers_of(trainer):
                    writer.add_text("metric/of_known_sounds", known, gan.batches_seen)
        return self._evaluation
