"""Batch statistics of a generator whose weights are an average."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_BATCH, _N_BATCHES = 64, 4


@torch.no_grad()
def calibrate(generator: nn.Module, latent_dim: int, n_classes: int, seed: int) -> None:
    """Give an averaged generator batch statistics of its own.

    Neither the trained generator's nor their average fit the averaged weights: samples would be dim and blurred, and
    worse the longer the average is.

    Args:
        generator: Changed in place, and left in training mode; nothing is done if it has no batch normalisation.
        latent_dim: Length of its latents.
        n_classes: Number of classes that it is told; 0 for none.
        seed: Of the latents.
    """
    norms = [layer for layer in generator.modules() if isinstance(layer, _BatchNorm)]
    if not norms:
        return
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
    generator.train()
    device = next(generator.parameters()).device
    source = torch.Generator().manual_seed(seed)
    for number in range(_N_BATCHES):
        for layer in norms:
            # The mean over all batches.
            layer.momentum = 1.0 / (number + 1)
        latents = torch.randn(_BATCH, latent_dim, generator=source)
        labels = [torch.arange(_BATCH, device=device) % n_classes] if n_classes else []
        generator(latents.to(device), *labels)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
