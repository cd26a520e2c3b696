"""Twice and half the size with a fixed filter, so that no pixel differs from its neighbour by where it lies."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad


class _Resample(nn.Module):
    """Each channel filtered by itself: on a CPU faster than torch's interpolation, which gives the same."""

    kernel: Tensor

    def __init__(self, channels: int, gain: float) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.channels = channels
        self.register_buffer("kernel", (gain * taps[:, None] * taps).repeat(channels, 1, 1, 1), persistent=False)


class Upsample(_Resample):
    """Double both sides: bilinear interpolation. Outside, an image goes on as it ends: its borders do not fade.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, gain=4.0)

    def forward(self, images: Tensor) -> Tensor:
        """Shape (batch, channels, height, width) to (batch, channels, 2 height, 2 width)."""
        wider = pad(images, (1, 1, 1, 1), mode="replicate")
        return conv_transpose2d(wider, self.kernel, stride=2, padding=3, groups=self.channels)


class Downsample(_Resample):
    """Halve both sides: means of 4 x 4 pixels, the inner ones weighted threefold.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, gain=1.0)

    def forward(self, images: Tensor) -> Tensor:
        """Shape (batch, channels, 2 height, 2 width) to (batch, channels, height, width)."""
        wider = pad(images, (1, 1, 1, 1), mode="replicate")
        return conv2d(wider, self.kernel, stride=2, groups=self.channels)
