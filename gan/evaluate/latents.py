"""The latent whose image is nearest to a given one, and files that keep it."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gan.errors import InputError
from gan.plain import made_of
from gan.seed import derive_seed
from gan.tensors import Format

if TYPE_CHECKING:
    from gan.model.gan import GAN

_FORMAT = Format("latent 1", "a latent", "latent of `gan invert`")
# Latents that are tried, and the nearest of them, from which the search goes on.
_N_TRIED, _N_SEARCHED = 256, 8
_BATCH = 64
_LEARNING_RATE = 0.1
# How much a latent that is shorter or longer than drawn ones are costs, beside an error that is 1 at silence.
_PRIOR = 0.02


@dataclass(frozen=True)
class Latent:
    """A latent that was found.

    Attributes:
        latent: Shape (1, length).
        label: The class, by its name; None without classes.
        about: What it is the latent of, for people.
    """

    latent: Tensor
    label: str | None
    about: str

    def save(self, path: Path) -> None:
        """Write it to a safetensors file, atomically."""
        _FORMAT.write(path, {"latent": self.latent}, {"label": json.dumps(self.label), "about": self.about})

    @classmethod
    def load(cls, path: Path) -> "Latent":
        """Read what `save` wrote.

        Raises:
            InputError: If the file is missing, damaged, or something else.
        """
        with _FORMAT.read(path) as (metadata, tensors):
            latent = tensors["latent"]
            is_row = latent.ndim == 2 and len(latent) == 1 and latent.is_floating_point()
            if not is_row or not latent.isfinite().all():
                raise InputError(f"{latent.dtype} of shape {tuple(latent.shape)} is no latent")
            label = made_of(str | None, json.loads(metadata["label"]), "label")
            return cls(latent.float(), label, metadata["about"])


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        latent: Shape (1, length).
        number: Number of the class; None without classes.
        first_error: Of the nearest of the latents that were tried at first: the mean absolute difference of the images,
            as a share of that between the target and silence.
        error: Of `latent`.
    """

    latent: Tensor
    number: int | None
    first_error: float
    error: float


def find_latent(
    gan: "GAN",
    target: Tensor,
    length: int,
    classes: list[int],
    n_steps: int = 300,
    seed: int = 0,
    watch: Callable[[float], None] = lambda error: None,
) -> Found:
    """Search for the latent whose image is nearest to a target, by gradient descent from the best of many.

    About the model's own image the search is right; of a recording's, what no latent makes is left.

    Args:
        gan: The model.
        target: Shape (1, 1, n_freqs, n_frames), in [-1, 1]; an image's frames behind it are not compared.
        length: Length of the latent.
        classes: Those that are tried; empty without classes.
        n_steps: Steps of Adam.
        seed: Seed of the latents that are tried.
        watch: Called after every step with the least error so far.
    """
    target = target.to(gan.device)
    silence = float((target + 1.0).abs().mean())
    scale = silence if silence > 0 else 1.0
    generator = torch.Generator().manual_seed(derive_seed(seed, "invert"))
    tried = torch.randn(_N_TRIED, length, generator=generator).to(gan.device)
    numbers = torch.tensor(classes, device=gan.device)[torch.arange(_N_TRIED) % len(classes)] if classes else None
    with gan.averaged() as generate:

        def errors_of(latents: Tensor, labels: Tensor | None) -> Tensor:
            images: Tensor = generate(latents, *([] if labels is None else [labels]))[..., : target.shape[-1]]
            errors: Tensor = (images - target).abs().flatten(1).mean(1) / scale
            return errors

        with torch.no_grad():
            parts = torch.split(torch.arange(_N_TRIED), _BATCH)
            at_first = torch.cat([errors_of(tried[part], None if numbers is None else numbers[part]) for part in parts])
        nearest = at_first.argsort()[:_N_SEARCHED]
        latents = tried[nearest].requires_grad_(True)
        labels = None if numbers is None else numbers[nearest]
        best, least = tried[nearest[:1]], float(at_first[nearest[0]])
        number = None if labels is None else int(labels[0])
        optimizer = torch.optim.Adam([latents], _LEARNING_RATE)
        for step in range(n_steps):
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))
            with torch.enable_grad():
                errors = errors_of(latents, labels)
                loss = (errors + _PRIOR * (latents.square().mean(1) - 1.0).square()).sum()
            row, error = int(errors.argmin()), float(errors.min().detach())
            if error < least:
                best, least = latents[row : row + 1].detach().clone(), error
                number = None if labels is None else int(labels[row])
            (latents.grad,) = torch.autograd.grad(loss, latents)
            optimizer.step()
            watch(least)
    return Found(best.detach().cpu(), number, float(at_first.min()), least)
