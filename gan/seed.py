"""Seeds that follow from one seed and a name, so that no random draw depends on what was drawn before it."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """Mix a seed with what it is for, e.g. `derive_seed(seed, "step", batches_seen)`.

    Args:
        seed: The run's seed.
        names: What the random numbers are for. Different names give independent seeds.

    Returns:
        A number in [0, 2**63).
    """
    text = repr((seed, *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
