"""Random changes of what the discriminator sees, real and generated alike, that leave a spectrogram a spectrogram."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

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
        probability: What it is now; part of the state.

    Raises:
        InputError: If a share lies outside [0, 1] or a number makes no sense.
    """

    # What is taken for an epoch of the measure: too few signs are noise.
    _BATCHES = 4
    # Above it the changes leak into what is generated (section 2.2 of the paper).
    _HIGHEST = 0.8

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
        self.probability = probability
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
        if self.probability == 0:
            return images
        images = self._shifted(images)
        images = self._quieter(images)
        images = self._masked(images, -1, self.time_mask)
        return self._masked(images, -2, self.band_mask)

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
        sure = float(signs.float().mean()) > self.target
        self.probability = min(self._HIGHEST, max(0.0, self.probability + (step if sure else -step)))

    def get_extra_state(self) -> dict[str, Any]:
        """The probability and what it will be steered by, for a checkpoint."""
        return {"probability": self.probability, "signs": [signs.cpu() for signs in self._signs]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self.probability = state["probability"]
        self._signs = list(state["signs"])

    def _chosen(self, images: Tensor) -> Tensor:
        return torch.rand(len(images)) < self.probability

    def _shifted(self, images: Tensor) -> Tensor:
        n_freqs, n_frames = images.shape[-2:]
        reach = self.frequency_shift, round(self.time_shift * n_frames)
        if reach == (0, 0):
            return images
        # Drawn on the CPU, where they are needed as plain numbers, whatever device the images are on.
        up, right = (torch.randint(-most, most + 1, (len(images),)) * self._chosen(images) for most in reach)
        padded = pad(images, (reach[1], reach[1], reach[0], reach[0]), value=_FLOOR)
        moved = [
            image[:, reach[0] - row : reach[0] - row + n_freqs, reach[1] - frame : reach[1] - frame + n_frames]
            for image, row, frame in zip(padded, up.tolist(), right.tolist(), strict=True)
        ]
        return torch.stack(moved).to(memory_format=torch.channels_last)

    def _quieter(self, images: Tensor) -> Tensor:
        by = 2 * self.attenuation * torch.rand(len(images)) * self._chosen(images)
        return (images - by.to(images.device)[:, None, None, None]).clamp_min(_FLOOR)

    def _masked(self, images: Tensor, side: int, most: float) -> Tensor:
        length = images.shape[side]
        width = most * length * torch.rand(len(images)) * self._chosen(images)
        start = (length - width) * torch.rand(len(images))
        place = torch.arange(length) + 0.5
        mask = (place > start[:, None]) & (place < (start + width)[:, None])
        shape = [len(images), 1, 1, 1]
        shape[side] = length
        return images.masked_fill(mask.view(shape).to(images.device), _FLOOR)
