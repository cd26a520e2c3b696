"""Options of Lightning's that a training cannot be made with, which Lightning itself refuses late or not at all."""

from typing import TYPE_CHECKING

from gan.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import Namespace

# numpy takes no others.
_SEEDS = 2**32
# What 0 leaves nothing to do for, or is divided by.
_NOT_ZERO = (
    *("max_epochs", "max_steps", "limit_train_batches"),
    *("log_every_n_steps", "val_check_interval", "check_val_every_n_epoch"),
)


def refuse_senseless(config: "Namespace") -> None:
    """Refuse a seed or numbers of the trainer that make no sense.

    Args:
        config: The configuration, not instantiated.

    Raises:
        InputError: If there is one.
    """
    if not 0 <= config.seed_everything < _SEEDS:
        raise InputError(f"seed_everything is {config.seed_everything}; it must lie in [0, {_SEEDS - 1}]")
    for name in _NOT_ZERO:
        if config.trainer[name] == 0:
            raise InputError(f"trainer.{name} is 0, with which nothing can be trained; give 1 or more")
    if config.trainer.fast_dev_run:
        raise InputError(
            "trainer.fast_dev_run keeps nothing to listen to; trainer.limit_train_batches makes short epochs to try"
        )
