"""Loops over numbers that numba compiles, once they are run: importing numba takes longer than most commands' help."""

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")


def compiled(*, fastmath: bool = False) -> Callable[[Callable[Given, Found]], Callable[Given, Found]]:
    """Compile a function when it is called first, without Python's lock, and keep the result beside its file.

    Args:
        fastmath: Whether sums may be taken in another order.

    Returns:
        A decorator, for functions that are called from Python alone: compiled ones cannot call them.
    """

    def decorate(loop: Callable[Given, Found]) -> Callable[Given, Found]:
        @cache
        def compiled_loop() -> Callable[Given, Found]:
            import numba

            # What is divided by 0 is infinite, as in numpy.
            return numba.njit(nogil=True, cache=True, fastmath=fastmath, error_model="numpy")(loop)

        @wraps(loop)
        def call(*arguments: Given.args, **options: Given.kwargs) -> Found:
            return compiled_loop()(*arguments, **options)

        return call

    return decorate
