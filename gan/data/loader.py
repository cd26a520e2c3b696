"""torch's loader of batches of crops."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from gan.stopping import leave_signals_to_parent


def loader_of(crops: Dataset[Any], batches: Iterable[Any], num_workers: int, seed: int) -> DataLoader[Any]:
    """A loader of batches that a dataset gives as they are to be.

    Args:
        crops: Gives a batch when asked for several crops (`__getitems__`).
        batches: The crops of each batch.
        num_workers: Processes that prepare batches; 0 to do it in this one.
        seed: Of whatever workers draw.
    """
    return DataLoader(
        crops,
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        worker_init_fn=leave_signals_to_parent,
        pin_memory=torch.cuda.is_available(),
        # Its own generator: making an iterator must not draw from the global one.
        generator=torch.Generator().manual_seed(seed),
    )


def _as_it_is(batch: Any) -> Any:
    return batch
