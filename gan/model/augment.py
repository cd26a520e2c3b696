"""Random changes of what the discriminator sees, real and generated alike, that leave a spectrogram a spectrogram."""

from typing import Any

import torch
from torch import Tensor, nn

from gan.errors import InputError

# The value of silence.
_FLOOR = -1.0


class Augment(nn.Module):
    """Shifts in time and frequency, lower levels, and masks over frames and bands, each with the same probability.

    A discriminator that sees few images learns them by heart; one that sees them changed at random, and the generated
    ones changed in the same way, cannot, and the generator does not learn the changes as long as they are seldom
    enough (Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", sections 2 and 3). All
    changes are differentiable in the images. None of them mirrors or turns an image: sounds do not run backwards.

    The probability adapts itself so that the discriminator is right about real images as often as `target` says
    (the paper's eq. 1, r_t): more changes if it is too sure of them.

    Args:
        probability: Of each change of each image; where it starts if it adapts.
        target: Mean sign of the logits of real images that the probability is steered to; the paper's is 0.6. None
            to leave the probability as it is.
        images_to_certainty: Images after which the probability could have risen from 0 to 1.
        time_shift: Greatest shift in time, either way, as a share of the width; what is moved in is silent.
        frequency_shift: Greatest shift in frequency, either way, in bins.
        attenuation: How much quieter an image may become, as a share of its range: 0.1 of 80 dB are 8 dB. Only
            quieter: how a sound goes on below the floor of the image, no image says.
        time_mask: Greatest share of the width that is silenced.
        band_mask: Greatest share of the height that is silenced.

    Attributes:
        probability: What it is now, a scalar on the device of the module; part of the state.

    Raises:
        InputError: If a share lies outside [0, 1] or a number makes no sense.
    """

    # What is taken for an epoch of the measure: too few signs are noise.
    _BATCHES = 4
    # Above it the changes leak into what is generated (section 2.2 of the paper).
    _HIGHEST = 0.8

    probability: Tensor

    def __init__(
        self,
        probability: float = 0.0,
        target: float | None = 0.6,
        images_to_certainty: int = 20_000,
        time_shift: float = 0.1,
        frequency_shift: int = 1,
        attenuation: float = 0.1,
        time_mask: float = 0.2,
        band_mask: float = 0.2,
    ) -> None:
        super().__init__()
        shares = {
            "probability": probability,
            "time_shift": time_shift,
            "attenuation": attenuation,
            "time_mask": time_mask,
            "band_mask": band_mask,
        }
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise InputError(f"model.augment's {name} is {value}; it must lie in [0, 1]")
        if target is not None and not -1 < target < 1:
            raise InputError(f"model.augment's target is {target}; it must lie between -1 and 1, 0.6 is usual")
        if images_to_certainty < 1 or frequency_shift < 0:
            raise InputError(
                f"model.augment's images_to_certainty is {images_to_certainty} and frequency_shift {frequency_shift}; "
                "they must be at least 1 and 0"
            )
        # Never asked for as a number in a batch, which would wait for the device. No weight, so not saved as one.
        self.register_buffer("probability", torch.tensor(float(probability)), persistent=False)
        self.target = target
        self.images_to_certainty = images_to_certainty
        self.time_shift = time_shift
        self.frequency_shift = frequency_shift
        self.attenuation = attenuation
        self.time_mask = time_mask
        self.band_mask = band_mask
        self._signs: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Change images at random, by torch's own random numbers.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].

        Returns:
            The same shape and range.
        """
        device = images.device
        if device.type == "cpu" and self.probability == 0:
            return images
        n_freqs, n_frames = images.shape[-2:]
        rows, is_heard_row = self._drawn(images, n_freqs, self.frequency_shift, self.band_mask)
        frames, is_heard_frame = self._drawn(images, n_frames, round(self.time_shift * n_frames), self.time_mask)
        places = n_frames * rows[:, :, None] + frames[:, None]
        images = images.flatten(1).gather(1, places.flatten(1)).view_as(images)
        by = 2 * self.attenuation * torch.rand(len(images), device=device) * self._chosen(images)
        images = (images - by[:, None, None, None]).clamp_min(_FLOOR)
        is_heard = is_heard_row[:, :, None] & is_heard_frame[:, None]
        return torch.where(is_heard[:, None], images, _FLOOR)

    def _chosen(self, images: Tensor) -> Tensor:
        return torch.rand(len(images), device=images.device) < self.probability

    def _drawn(self, images: Tensor, length: int, most: int, mask: float) -> tuple[Tensor, Tensor]:
        """Which row or frame each one is taken from, and whether anything of it is heard, shape (batch, length)."""
        n, device = len(images), images.device
        by = torch.randint(-most, most + 1, (n,), device=device) * self._chosen(images)
        source = torch.arange(length, device=device) - by[:, None]
        width = mask * length * torch.rand(n, device=device) * self._chosen(images)
        start = (length - width) * torch.rand(n, device=device)
        place = torch.arange(length, device=device) + 0.5
        is_masked = (place > start[:, None]) & (place < (start + width)[:, None])
        is_there = (source >= 0) & (source < length)
        return source.clamp(0, length - 1), is_there & ~is_masked

    def update(self, real_logits: Tensor, fake_logits: Tensor, relative: bool) -> None:
        """Steer the probability by how sure the discriminator is of real images.

        Args:
            real_logits: Shape (batch,), of real images as they were changed.
            fake_logits: Shape (batch,).
            relative: Whether only differences of logits mean something: then the zero is half-way between the mean
                logits of real and generated images.
        """
        if self.target is None:
            return
        zero = 0.5 * (real_logits.mean() + fake_logits.mean()) if relative else 0.0
        self._signs.append((real_logits - zero).detach().sign())
        if len(self._signs) < self._BATCHES:
            return
        signs = torch.cat(self._signs)
        self._signs = []
        step = len(signs) / self.images_to_certainty
        is_sure = signs.float().mean() > self.target
        self.probability = (self.probability + torch.where(is_sure, step, -step)).clamp(0.0, self._HIGHEST)

    def get_extra_state(self) -> dict[str, Any]:
        """The probability and what it will be steered by, for a checkpoint."""
        return {"probability": float(self.probability), "signs": [signs.cpu() for signs in self._signs]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self.probability.fill_(state["probability"])
        self._signs = [signs.to(self.probability.device) for signs in state["signs"]]
