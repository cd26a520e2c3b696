"""The moving average of a generator, which samples are made with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

_BATCH, _N_BATCHES = 64, 4


class Average(AveragedModel):
    """A moving average of a generator's weights (Karras et al. 2018, section 4.1), with batch statistics of its own.

    Args:
        generator: The generator, a copy of which it is at first.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__(generator)
        self.requires_grad_(False)

    @torch.no_grad()
    def follow(self, generator: nn.Module, decay: float, n_before: int) -> None:
        """Move towards the generator's weights.

        In place of AveragedModel's own way, which waits for the device to ask whether this is the first time.

        Args:
            generator: The generator.
            decay: What is kept of the average; less at first, so that it does not hang on the start.
            n_before: Batches that were seen before the last one.
        """
        decay = min(decay, (1 + n_before) / (10 + n_before)) if n_before else 0.0
        torch._foreach_lerp_(list(self.parameters()), list(generator.parameters()), 1 - decay)
        # What is no weight, as the vectors of a spectral normalisation, has no average.
        if own := _states(self.module):
            torch._foreach_copy_(own, _states(generator))

    @contextmanager
    def evaluated(self) -> Iterator[Any]:
        """The averaged generator in eval mode, and then as it was."""
        was_training = self.training
        try:
            yield self.eval().module
        finally:
            self.train(was_training)

    @torch.no_grad()
    def calibrate(self, latent_dim: int, n_classes: int, seed: int) -> None:
        """Give the averaged generator batch statistics of its own, if it has batch normalisation.

        Neither the trained generator's nor their average fit the averaged weights: samples would be dim and blurred,
        and worse the longer the average is. It is left in training mode.

        Args:
            latent_dim: Length of its latents.
            n_classes: Number of classes that it is told; 0 for none.
            seed: Of the latents.
        """
        norms = [layer for layer in self.modules() if isinstance(layer, _BatchNorm)]
        if not norms:
            return
        momenta = [layer.momentum for layer in norms]
        for layer in norms:
            layer.reset_running_stats()
        self.train()
        device = next(self.parameters()).device
        source = torch.Generator().manual_seed(seed)
        for number in range(_N_BATCHES):
            for layer in norms:
                # The mean over all batches.
                layer.momentum = 1.0 / (number + 1)
            latents = torch.randn(_BATCH, latent_dim, generator=source)
            labels = [torch.arange(_BATCH, device=device) % n_classes] if n_classes else []
            self(latents.to(device), *labels)
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum


def _states(network: nn.Module) -> list[Tensor]:
    """The buffers of a network, without the batch statistics, which are found anew."""
    layers = (layer for layer in network.modules() if not isinstance(layer, _BatchNorm))
    return [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
