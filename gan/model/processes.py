"""What processes that share each batch find together."""

from collections.abc import Mapping

import torch
from lightning import Trainer
from torch import Tensor


def gathered(logits: Tensor, trainer: Trainer) -> Tensor:
    """The logits of all processes, shape (n_processes * batch,), without gradients.

    Args:
        logits: Of this process, shape (batch,); as many as each other's.
        trainer: Knows the processes.
    """
    logits = logits.detach()
    if trainer.world_size == 1:
        return logits
    together = logits.new_empty(trainer.world_size * len(logits))
    torch.distributed.all_gather_into_tensor(together, logits)
    return together


def mean_of_all(values: Mapping[str, Tensor], trainer: Trainer) -> dict[str, Tensor]:
    """Scalars of the whole batch, of those of each process' part.

    Args:
        values: Of this process; the others have the same names.
        trainer: Knows the processes.
    """
    if trainer.world_size == 1:
        return dict(values)
    # In an order that is the same in all of them, whichever came first.
    names = sorted(values)
    together = torch.stack([values[name].float() for name in names])
    return dict(zip(names, trainer.strategy.reduce(together, reduce_op="mean").unbind(), strict=True))
