"""Memory that is freed is kept for the next batch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from gan.allocation import is_lack_of_memory

PROGRAM = """
import resource
import torch
from gan.allocation import keep_freed_memory
def use():
    tensors = [torch.empty(10_000_000).fill_(1.0) for _ in range(2)]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        use()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
use()
given_back = faults()
keep_freed_memory()
# What is kept is in pieces at first.
for _ in range(60):
    use()
print(given_back, faults())
"""


def test_what_says_that_memory_is_lacking():
    for make in (lambda: np.empty(2**55), lambda: torch.empty(2**55)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            make()
        assert is_lack_of_memory(caught.value)
    assert is_lack_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_lack_of_memory(RuntimeError("shapes do not fit"))


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux' C library")
def test_pages_come_once():
    """Three times two tensors of 40 MB: 58,600 pages of 4 kB, unless they are there already."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < 1_000
    assert given_back > 55_000
