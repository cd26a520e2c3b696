"""Statistics of listeners' answers: shares, mean opinions, and whether a difference is more than chance.

Listeners of one test hear the same sounds, and what one mishears others mishear too. So p-values and intervals count
sounds (or trials), each with all answers to it, and not answers: ten listeners of twenty sounds are not two hundred.
They hold for these listeners and further sounds.

P-values are those of permutation tests. A test asks about a fixed number of sounds of each kind, in random order, so
the only thing that is drawn by chance is which trial is of which kind: the answers are kept, and the kinds are
exchanged between trials, for all listeners at once. What listeners know or guess of these numbers, how they even out
their answers and whether they agree with each other makes no difference to that.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
# Additions up to which all exchanges are counted (seconds), and trials up to which their number is a float.
_MOST_ADDITIONS, _MOST_TRIALS = 500_000_000, 1000
_N_DRAWS = 200_000
# Logarithm of an odds ratio beyond which sums one apart are certain to be told from each other.
_LARGEST_TILT = 1000.0


@dataclass(frozen=True)
class Share:
    """A share of some answers, and its interval of Wilson (1927).

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
class Discrimination:
    """The right answers to questions that have two possible ones.

    Attributes:
        n: How many answers.
        value: The share that is right, in [0, 1].
        low: Lower end of its 95 % interval.
        high: Upper end.
        expected: The share that is right on average if answers have nothing to do with what is asked about.
        p: The p-value against that, two-sided: below 0.05 if and only if the interval excludes `expected`.
    """

    n: int
    value: float
    low: float
    high: float
    expected: float
    p: float


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
    """The share of answers that are true.

    Wilson's interval of as many independent answers as have the variance that the sounds' means have (Korn and
    Graubard 1998): between one a sound, if all listeners agree, and all, if each answers for himself.

    Args:
        answers: Shape (n_sounds, n_listeners) or, of one listener, (n_sounds,); neither 0.
    """
    from scipy.stats import norm, t

    n_sounds, n = len(answers), answers.size
    value = float(answers.mean())
    z = float(norm.ppf(0.5 + CONFIDENCE / 2))
    spread = value * (1 - value)
    n_independent = float(n_sounds)
    # Answers that are all the same do not tell who agrees with whom.
    if spread and n_sounds > 1:
        variance = float(answers.reshape(n_sounds, -1).mean(1).var(ddof=1))
        # The variance of few sounds is itself uncertain.
        certainty = (z / float(t.ppf(0.5 + CONFIDENCE / 2, n_sounds - 1))) ** 2
        most = certainty * n_sounds * spread / variance if variance else math.inf
        n_independent = min(n, max(n_sounds, most))
    z2 = z**2 / n_independent
    centre = (value + z2 / 2) / (1 + z2)
    reach = math.sqrt(z2 * (spread + z2 / 4)) / (1 + z2)
    return Share(n, value, centre - reach if value > 0 else 0.0, centre + reach if value < 1 else 1.0)


def opinion(scores: NDArray[np.float64]) -> Opinion:
    """The mean of scores, shape (n_sounds, n_listeners), neither 0."""
    from scipy.stats import t

    means, n_sounds = scores.mean(1), len(scores)
    value = float(means.mean())
    reach = math.inf
    if n_sounds > 1:
        reach = float(t.ppf(0.5 + CONFIDENCE / 2, n_sounds - 1) * means.std(ddof=1) / math.sqrt(n_sounds))
    return Opinion(int(scores.size), value, max(1.0, value - reach), min(5.0, value + reach))


def discrimination(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> Discrimination:
    """How well listeners tell one kind of trial from the other.

    The p-value is that of `difference` between the two kinds; of one listener it is Fisher's exact test. The interval
    is that of `share`, but an end that the p-value puts on the other side of what is expected by chance is the end of
    the test's own interval: with s_t listeners who say the first of trial t, a set T of trials is that of the first
    kind with a probability proportional to exp(theta sum_{t in T} s_t), and theta is what both tails of 2.5 % leave
    over. Of one listener it is the exact conditional interval of the odds ratio, as shares that are right.

    Args:
        said: Whether the first of two possible answers was given, shape (n_trials, n_listeners), neither 0.
        true: Whether it is the right one, shape (n_trials,).
    """
    n_trials, n_listeners = said.shape
    sums = _Sums(said.sum(1), true)
    right = said == true[:, None]

    def share_right(total: float) -> float:
        """Of the sum over the trials where the first answer is right."""
        return float((2 * total + (n_trials - true.sum()) * n_listeners - said.sum()) / said.size)

    found, expected = share(right), share_right(sums.expected)
    low, high = found.low, found.high
    if (ends := sums.interval()) is not None:
        # The test knows how often each answer was given, and another time it may be another number. So its ends are
        # only taken where they say what is expected by chance lies outside, or lies inside.
        test_low, test_high = map(share_right, ends)
        low = test_low if test_low > expected else min(low, test_low)
        high = test_high if test_high < expected else max(high, test_high)
    return Discrimination(found.n, found.value, low, high, expected, sums.p_value())


def difference(first: NDArray[Any], second: NDArray[Any]) -> float:
    """How likely a difference of means as large as this is if the sounds of both are alike: the p-value, two-sided.

    A permutation test over sounds, exact but for very large ones, which take 200,000 draws. All listeners hear all
    sounds, so that one is stricter than another does not matter.

    Args:
        first: Scores, or 0 and 1, whole numbers of shape (n_sounds, n_listeners), neither 0.
        second: The same of others, by the same listeners; the number of sounds may differ.
    """
    totals = np.concatenate([first.sum(1), second.sum(1)])
    return _Sums(totals, np.arange(len(totals)) < len(first)).p_value()


class _Sums:
    """The sum of some items' values, among the sums of all sets of as many items.

    Args:
        values: Whole numbers, shape (n,).
        chosen: Which items are summed, shape (n,).

    Attributes:
        expected: Mean of all sums.
    """

    def __init__(self, values: NDArray[Any], chosen: NDArray[np.bool_]) -> None:
        # From 0, so that the table is small.
        least = int(values.min())
        above = values.astype(np.int64) - least
        n, self._size = len(above), int(chosen.sum())
        self._offset = least * self._size
        self._observed = int(above[chosen].sum())
        self.expected = self._offset + self._size * float(above.mean())
        largest = int(np.sort(above)[n - self._size :].sum())
        self._exact = n <= _MOST_TRIALS and n * self._size * (largest + 1) <= _MOST_ADDITIONS
        self._sums, weights = self._count(above, largest) if self._exact else self._draw(above)
        self._log_weights = np.log(weights)

    def p_value(self) -> float:
        """How likely a sum as far from the expected one is, two-sided: twice the smaller tail."""
        return min(1.0, 2.0 * min(self._tails(0.0)))

    def interval(self) -> tuple[float, float] | None:
        """Sums that are expected at the ends of the 95 % interval of theta; None if not all sets were counted."""
        from scipy.optimize import brentq

        if not self._exact:
            return None
        ends = [float(self._sums[0]), float(self._sums[-1])]
        for side, end in enumerate(ends):
            if self._observed != end:
                # A larger sum is the less likely the smaller theta is, and the other way round.
                tilt = brentq(
                    lambda tilt, side=side: self._tails(tilt)[side] - (1 - CONFIDENCE) / 2,
                    -_LARGEST_TILT,
                    _LARGEST_TILT,
                )
                ends[side] = float(self._sums @ self._probabilities(tilt))
        return ends[0] + self._offset, ends[1] + self._offset

    def _tails(self, tilt: float) -> tuple[float, float]:
        """Probabilities of sums as large as the observed one or larger, and as small or smaller."""
        probabilities = self._probabilities(tilt)
        return (
            float(probabilities[self._sums >= self._observed].sum()),
            float(probabilities[self._sums <= self._observed].sum()),
        )

    def _probabilities(self, tilt: float) -> NDArray[np.float64]:
        weights = self._log_weights + tilt * (self._sums - self._observed)
        weights = np.exp(weights - weights.max())
        probabilities: NDArray[np.float64] = weights / weights.sum()
        return probabilities

    def _count(self, values: NDArray[np.int64], largest: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """All sums, ascending, and how many sets have each."""
        n_sets = np.zeros((self._size + 1, largest + 1))
        n_sets[0, 0] = 1
        for value in values:
            n_sets[1:, value:] += n_sets[:-1, : largest + 1 - value]
        sums = np.flatnonzero(n_sets[-1])
        return sums, n_sets[-1, sums]

    def _draw(self, values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Sums of sets that are drawn, the observed one among them, and how often each came."""
        different, counts = np.unique(values, return_counts=True)
        # The same answers have the same p-value.
        drawn = np.random.default_rng(0).multivariate_hypergeometric(counts, self._size, _N_DRAWS, method="marginals")
        sums, n_drawn = np.unique(np.append(drawn @ different, self._observed), return_counts=True)
        return sums, n_drawn.astype(np.float64)
