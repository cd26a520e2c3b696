"""Crops of frames that lie in an accelerator's memory."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from gan.data.crops import Batch, Crop, CropDataset
from gan.data.shards import row_bytes

# Of the memory that is free before a training: the rest is for the networks.
_SHARE = 0.5


class CropPlaces(Dataset[Tensor]):
    """Where crops lie, for batches that are read on the device."""

    def __getitems__(self, crops: list[Crop]) -> Tensor:
        """Shape (batch, 2), int64: image and start of each."""
        return torch.tensor(crops)


class ResidentCrops:
    """All frames of a store in a device's memory: a batch costs the processor nothing and no way to the device.

    Args:
        crops: The crops, as they would be read from the store.
        device: Where to.
    """

    def __init__(self, crops: CropDataset, device: torch.device) -> None:
        store = crops.store
        self.n_frames = crops.n_frames
        self._labels = None if crops.labels is None else crops.labels.to(device)
        self._levels = crops.levels.to(device)
        # One after the other, without what lies between them in the store.
        widths = torch.tensor(store.images.n_frames)
        self._width, self._first = widths.to(device), (widths.cumsum(0) - widths).to(device)
        # Sixteen bits without a sign are a type that cannot be indexed everywhere.
        self._wraps = 1 << 16 if store.settings.bits == 16 else 0
        kind = torch.int16 if self._wraps else torch.uint8
        self._frames = torch.empty((int(widths.sum()), store.settings.n_freqs), dtype=kind, device=device)
        for index, part in enumerate(torch.split(self._frames, store.images.n_frames)):
            part.copy_(torch.from_numpy(store.codes(index, 0, len(part)).copy()).view(kind))

    def batch(self, places: Tensor) -> Batch:
        """The same as `CropDataset` gives for these crops, on the device.

        Args:
            places: Of `CropPlaces`.
        """
        chosen, start = places.unbind(1)
        place = start[:, None] + torch.arange(self.n_frames, device=places.device)
        is_sound = place < self._width[chosen, None]
        rows = self._first[chosen, None] + torch.where(is_sound, place, 0)
        codes = self._frames[rows].float()
        if self._wraps:
            codes = torch.where(codes < 0, codes + self._wraps, codes)
        images = self._levels(codes[..., :-1].mT.contiguous(), chosen)
        images = torch.where(is_sound[:, None], images, self._levels.lowest)
        return Batch(images.unsqueeze(1), None if self._labels is None else self._labels[chosen])


def fits(crops: CropDataset, device: torch.device) -> bool:
    """Whether the frames of a store leave enough of a device's memory; of the processor's own, never."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    needed = sum(crops.store.images.n_frames) * row_bytes(crops.store.settings)
    return needed <= _SHARE * free
