"""Twice and half the size with a fixed filter, so that no pixel differs from its neighbour by where it lies."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

_TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


class _Resample(nn.Module):
    """Each channel filtered by itself: on a CPU faster than torch's interpolation, which gives the same."""

    kernel: Tensor

    def __init__(self, channels: int, gain: float) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("kernel", (gain * _TAPS[:, None] * _TAPS).repeat(channels, 1, 1, 1), persistent=False)


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


class SmoothDoubling(nn.Module):
    """Doubles frequencies, and frames if `longer`, by a transposed convolution and a low-pass behind it.

    Of a transposed convolution, even and odd pixels have different weights, hence different means, which are heard as
    a whistle, a buzz and a pulse. The filter averages over both (as in StyleGAN2, Karras et al. 2020). A sharp one
    leaves nothing of the grid (as in StyleGAN3, 2021), in deviations either. What has seen an end of time is cut off.

    Args:
        channels: Number of channels.
        next_channels: Number of channels of what is made.
        longer: Whether frames are doubled too.
        bias: Whether a number is added to each channel.
        sharp: Whether the filter over time is a sharp one, of three times as many taps.
    """

    kernel: Tensor

    def __init__(
        self, channels: int, next_channels: int, longer: bool, bias: bool = False, sharp: bool = False
    ) -> None:
        super().__init__()
        stride, padding = (2, 2 if longer else 1), (1, 1 if longer else 2)
        self.convolution = nn.ConvTranspose2d(channels, next_channels, 3, stride, padding, bias=False)
        # Behind the filter, whose gain it would be multiplied by.
        self.bias = nn.Parameter(torch.zeros(next_channels)) if bias else None
        over_time = 2 * (_sharp_taps() if sharp else _TAPS) if longer else _TAPS.new_ones(1)
        kernel = 2 * _TAPS[:, None] * over_time
        self.register_buffer("kernel", kernel.repeat(next_channels, 1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Double.

        Args:
            images: Shape (batch, channels, height, width).

        Returns:
            Shape (batch, next_channels, 2 height, width - 2), or 2 width - 4 if longer, 2 width - 12 if sharp too.
        """
        # Beyond the lowest and the highest frequency it goes on as it is there.
        taller = pad(images, (0, 0, 1, 1), mode="replicate")
        return conv2d(self.convolution(taller), self.kernel, self.bias, groups=len(self.kernel))


def _sharp_taps() -> Tensor:
    """A sharper low-pass: half as high as it starts at 0.2 of the rate, and 50 dB down from 0.34 on."""
    from scipy.signal import firwin

    return torch.from_numpy(firwin(12, 0.4, window=("kaiser", 4.0))).float()
