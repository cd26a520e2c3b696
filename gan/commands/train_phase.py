"""`gan train-phase`: recordings to the network that DeepGriffinLim starts from."""

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.cli import LightningArgumentParser

import gan.phase_training
from gan.errors import InputError
from gan.outputs import Outputs
from gan.phase_training.data import StepData
from gan.phase_training.listening import WEIGHTS, PhaseListening
from gan.phase_training.module import PhaseTraining
from gan.sound.phase.steps import WEIGHTS_MARK
from gan.training import TrainingCLI, run_training


class PhaseCLI(TrainingCLI):
    """Trains the network of phase steps and listens to what is made with it."""

    command = "gan train-phase"
    root = "runs/phase"
    default_config = Path(gan.phase_training.__path__[0]) / "default.yaml"
    module = PhaseTraining
    data = StepData

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is heard."""
        super().add_arguments_to_parser(parser)
        parser.add_lightning_class_args(PhaseListening, "listen")

    def before_instantiate_classes(self) -> None:
        """Refuse what the learning rate's schedule cannot be made for."""
        if self.config.trainer.max_epochs == -1 and self.config.trainer.max_steps == -1:
            raise InputError("a training without an end has no schedule; set trainer.max_epochs, 50 is usual")

    def set_up(self) -> None:
        """Find also a file in the place of the weights, which a run's folder that is gone on with may have."""
        super().set_up()
        Outputs(advice="move it away").check(self.run.folder / WEIGHTS, WEIGHTS_MARK)

    def describe(self) -> list[str]:
        """What is learnt from, and where the weights will be."""
        data, n_weights = self.datamodule, sum(weight.numel() for weight in self.model.parameters())
        seconds = sum(len(excerpt) for excerpt in data.excerpts) / data.sample_rate
        return [
            f"recordings: {len(data.excerpts)} excerpts, {seconds / 60:.1f} min, of {data.recordings}; "
            f"{len(data.validation_excerpts)} excerpts only listened to; {n_weights} weights",
            f"when done: gan decode PICTURES --phase DeepGriffinLim --phase.weights {self.run.folder / WEIGHTS}",
        ]


def main(arguments: Sequence[str]) -> int:
    """Train; `gan train-phase RECORDINGS` is short for --data.recordings RECORDINGS."""
    arguments = list(arguments)
    if arguments and not arguments[0].startswith("-"):
        arguments[:1] = ["--data.recordings", arguments[0]]
    return run_training(PhaseCLI, arguments)
