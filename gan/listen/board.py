"""How a run is laid out in TensorBoard: its card, its curves in groups, its settings beside its results."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from gan.model.gan import GAN
from gan.pace import Pace
from gan.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Curves side by side in the tab "Custom scalars": title, and regular expressions of what is in it.
_LAYOUT = {
    "training": {
        "losses": ["loss/generator", "loss/discriminator"],
        "logits: validation falls below real where recordings are learnt by heart": ["logits/.*"],
        "penalty": ["loss/penalty"],
    },
    "quality": {
        "distance to the training sounds, less is better": ["metric/frechet_.*"],
        "variety and quality, more is better": ["metric/(density|coverage|inception|accuracy).*"],
        "repeats its recordings": ["metric/(copy|neighbour).*"],
    },
    "watchdog": {
        "level beside the real ones, dB": ["watchdog/level_db"],
        "highest peak above full scale, dB: clips of what is above 0 are made quieter": ["watchdog/over_full_scale_db"],
        "spread beside the real ones': all alike is 0": ["watchdog/spread"],
        "power that moves over time, beside the real ones'": ["watchdog/unsteadiness"],
        "stripes and buzz, dB": ["watchdog/(stripes|buzz)_db"],
    },
    "time": {"seconds an epoch": ["time/epoch"]},
}

# How images are read, which says nothing about a result.
_NOT_COMPARED = ("figures", "store", "resident", "num_workers")


class Board(Callback):
    """Writes a card of the run, a layout of its curves and, for TensorBoard's HParams, its settings and how it ended.

    The card in the text tab says what is trained on what, how long an epoch takes, and the whole configuration. Runs
    in one folder are compared in the HParams tab by their settings and the last value of every curve.

    Args:
        run: The run, whose configuration has been written when the training starts.
        describe: Gives lines about data and networks.
        pace: Knows how long an epoch takes; called before this.
    """

    def __init__(self, run: Run, describe: Callable[[], list[str]], pace: Pace) -> None:
        self._run = run
        self._describe = describe
        self._pace = pace
        self._is_timed = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is known before the first epoch."""
        from torch.utils.tensorboard.summary import hparams

        layout = {
            group: {title: ["Multiline", tags] for title, tags in charts.items()} for group, charts in _LAYOUT.items()
        }
        for writer in writers_of(trainer):
            writer.add_custom_scalars(layout)
            # What TensorBoard calls the experiment is left to it: it finds the curves of all runs by itself.
            writer._get_file_writer().add_summary(hparams(compared(self._run.read_config()), {})[1])
        self._write_card(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the first epoch the card says how long one takes."""
        self._n_epochs = trainer.current_epoch + 1
        if not self._is_timed:
            self._is_timed = True
            self._write_card(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that the run has ended."""
        from torch.utils.tensorboard.summary import hparams

        self._write_card(trainer, pl_module)
        for writer in writers_of(trainer):
            writer._get_file_writer().add_summary(hparams({}, {})[2])

    def _write_card(self, trainer: Trainer, module: LightningModule) -> None:
        # Other processes have no configuration to read.
        if not trainer.is_global_zero:
            return
        assert isinstance(module, GAN)
        lines = [f"- {line}" for line in self._describe()]
        if self._is_timed:
            lines.append(f"- time: {self._pace.seconds:.1f} s an epoch, {self._n_epochs} of {trainer.max_epochs}")
        indented = "\n".join(f"    {line}" for line in self._run.config.read_text(encoding="utf-8").splitlines())
        for writer in writers_of(trainer):
            writer.add_text("run", "\n".join([*lines, "", "config.yaml:", "", indented]), module.batches_seen)


def writers_of(trainer: Trainer) -> "list[SummaryWriter]":
    """What writes for TensorBoard; nothing in processes that do not log."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def add_picture(writer: "SummaryWriter", tag: str, jpeg: bytes, shape: Sequence[int], step: int) -> None:
    """Log a picture that is a JPEG already, where torch's add_image makes a PNG.

    Args:
        writer: TensorBoard's.
        tag: Its name.
        jpeg: The file.
        shape: Height and width.
        step: Place on the x axis.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    # Three colours.
    picture = Summary.Image(height=shape[0], width=shape[1], colorspace=3, encoded_image_string=jpeg)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=picture)]), step)


def compared(config: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """The settings that results depend on, in one depth; what is no number, text or switch as text.

    Args:
        config: A run's whole configuration.

    Returns:
        By names as on the command line, but for `class_path` and `init_args`: "model.generator" is the class,
        "model.generator.base_channels" its option.
    """
    found: dict[str, str | float | bool] = {"seed": config["seed_everything"]}

    def collect(value: Any, name: str) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                collect(inner, name if key in ("class_path", "init_args") else f"{name}.{key}")
        else:
            found[name] = value if isinstance(value, bool | int | float | str) else str(value)

    collect(config["model"], "model")
    collect({name: value for name, value in config["data"].items() if name not in _NOT_COMPARED}, "data")
    return found
