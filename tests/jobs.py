"""Jobs for workers, who import this file: it imports little."""

import os
import signal
import time


def reciprocal(number: float) -> float:
    """Fails at 0."""
    return 1 / number


def die_of_three(number: int) -> int:
    """Kills the process that is given 3, others return the square."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)  # Others are not done when 3 begins beside them.
    return number * number


def threads_of_torch(number: int) -> tuple[int, int]:
    """The process, and the threads that torch takes in it."""
    import torch

    return os.getpid(), torch.get_num_threads()
