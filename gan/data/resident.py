"""Crops of frames that lie in an accelerator's memory."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from gan.data.crops import Batch, Crop, CropDataset

# Of the memory that is free before a training: the rest is for the networks.
_SHARE = 0.5
# Rows that are copied at a time.
_N_COPIED = 1 << 16


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
        self._first = torch.tensor(store.images.first_row, device=device)
        self._width = torch.tensor(store.images.n_frames, device=device)
        frames = store.frames
        # Sixteen bits without a sign are a type that cannot be indexed everywhere.
        self._wraps = 1 << 16 if store.settings.bits == 16 else 0
        kind = torch.int16 if self._wraps else torch.uint8
        self._frames = torch.empty(frames.shape, dtype=kind, device=device)
        for start in range(0, len(frames), _N_COPIED):
            part = torch.from_numpy(frames[start : start + _N_COPIED].copy())
            self._frames[start : start + len(part)] = part.view(kind)

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
    return crops.store.n_bytes <= _SHARE * free
