"""What listeners' answers say of sounds: shares, mean opinions, and whether a difference is more than chance.

Listeners of one test hear the same sounds, and what one mishears others mishear too. So p-values count sounds (or
trials), each with the mean of all who heard it, and not answers: ten listeners of twenty sounds are not two hundred.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A share of some answers, and its interval of Wilson (1927), every answer counted for itself.

    Attributes:
        n: How many answers.
        value: The share, in [0, 1].
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Opinion:
    """A mean opinion score (ITU-T P.800), from 1, bad, to 5, excellent.

    Attributes:
        n: How many answers.
        value: The mean.
        low: Lower end of the 95 % interval, by Student's t over the sounds; of one sound it is the whole scale.
        high: Upper end.
    """

    n: int
    value: float
    low: float
    high: float


def share(answers: NDArray[np.bool_]) -> Share:
    """How many of some answers, of any shape but not none, are true."""
    from scipy.stats import binomtest

    n = int(answers.size)
    found = binomtest(int(answers.sum()), n)
    low, high = found.proportion_ci(CONFIDENCE, method="wilson")
    return Share(n, float(found.statistic), float(low), float(high))


def opinion(scores: NDArray[np.float64]) -> Opinion:
    """The mean of scores, shape (n_sounds, n_listeners), neither 0."""
    from scipy.stats import t

    means, n_sounds = scores.mean(1), len(scores)
    value = float(means.mean())
    reach = math.inf
    if n_sounds > 1:
        reach = float(t.ppf(0.5 + CONFIDENCE / 2, n_sounds - 1) * means.std(ddof=1) / math.sqrt(n_sounds))
    return Opinion(int(scores.size), value, max(1.0, value - reach), min(5.0, value + reach))


def chance(right: NDArray[np.bool_]) -> float:
    """How likely guessing is as often right or wrong as this: the p-value against one half, two-sided.

    Of one listener the exact binomial test. Of several, which answer is right is drawn anew for each trial and not for
    each answer: a test of the signs of (right - wrong), exact up to 17 trials, else by 200,000 draws.

    Args:
        right: Which answers are right, shape (n_trials, n_listeners), neither 0.
    """
    from scipy.stats import binomtest

    n_trials, n_listeners = right.shape
    if n_listeners == 1:
        return float(binomtest(int(right.sum()), n_trials).pvalue)
    lead = 2.0 * right.sum(1) - n_listeners
    return _p_value((lead,), lambda leads, axis: leads.mean(axis=axis), "samples")


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How likely a difference of means as large as this is if the sounds of both are alike: the p-value, two-sided.

    A permutation test over sounds, exact up to 10 of each, else by 200,000 draws. All listeners hear all sounds, so
    that one is stricter than another does not matter.

    Args:
        first: Scores, or 0 and 1, shape (n_sounds, n_listeners), two sounds or more.
        second: The same of others, by the same listeners; the number of sounds may differ.
    """
    means = first.astype(float).mean(1), second.astype(float).mean(1)
    return _p_value(means, lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), "independent")


def _p_value(data: tuple[NDArray[np.float64], ...], statistic: Callable[..., Any], permuted: str) -> float:
    from scipy.stats import permutation_test

    found = permutation_test(
        data,
        statistic,
        permutation_type=permuted,
        vectorized=True,
        n_resamples=200_000,
        batch=10_000,
        # The same answers have the same p-value.
        random_state=np.random.default_rng(0),
    )
    return float(found.pvalue)
