"""How the C library hands out memory, and that there is none left."""

import ctypes
import sys

import torch

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Have this process keep the memory of tensors that are freed, for the next ones.

    Those of more than 32 MB are otherwise given back to the system each time, and come anew in pages that it fills with
    zeros one by one: a training on the processor makes and frees the same ones in every batch, and loses up to a tenth
    of its time to that. The process stays as large as it once was. Nothing is done where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that there is not enough memory."""
    # On a CPU torch has no class of its own for it.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
