"""Metrics against their formulas worked out another way, and on distributions whose distance is known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch

from gan.errors import InputError
from gan.evaluate.metrics import (
    density_coverage,
    frechet_distance,
    inception_score,
    kernel_distance,
    n_different_bins,
    precision_recall,
)


def gaussian(n: int, n_features: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, n_features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exactly(mean: list[float], deviation: list[float], seed: int = 0) -> torch.Tensor:
    """400 items whose mean and (uncorrelated) deviations are not estimates."""
    items = gaussian(400, len(mean), seed)
    items = items - items.mean(0)
    items = items @ torch.linalg.inv(torch.linalg.cholesky(items.T.cov())).T
    return items * torch.tensor(deviation) + torch.tensor(mean)


def test_frechet_distance_of_gaussians():
    """|mu|^2 + sum (sigma_r - sigma_f)^2 if nothing is correlated: 9 + 16 + 1 + 4."""
    real, fake = exactly([1.0, 2.0], [1.0, 3.0], 1), exactly([4.0, 6.0], [2.0, 1.0], 2)
    assert frechet_distance(real, fake) == pytest.approx(30.0, abs=1e-8)
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-8)
    # Far from 0, where sums of squares lose their digits.
    assert frechet_distance(real + 1e6, fake + 1e6) == pytest.approx(30.0, abs=1e-5)


def test_frechet_distance_is_that_of_scipy():
    real, fake = gaussian(200, 6, 1) @ gaussian(6, 6, 2), gaussian(150, 6, 3) @ gaussian(6, 6, 4) + 0.5
    a, b = np.cov(real.T), np.cov(fake.T)
    mean = (real.mean(0) - fake.mean(0)).square().sum().item()
    expected = mean + np.trace(a) + np.trace(b) - 2 * np.trace(scipy.linalg.sqrtm(a @ b)).real
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_in_blocks_is_the_mean_of_blocks():
    real, fake = gaussian(100, seed=1), gaussian(65, seed=2) + 1
    blocks = [frechet_distance(real, fake[start : start + 30]) for start in (0, 30)]
    assert frechet_distance(real, fake, 30) == pytest.approx(sum(blocks) / 2, rel=1e-12)


def test_frechet_distance_in_blocks_has_the_bias_of_a_block():
    real, many, few = gaussian(1000, 20, 1), gaussian(1000, 20, 2), gaussian(50, 20, 3)
    assert frechet_distance(real, many) < 0.3
    assert frechet_distance(real, few) > 2
    assert frechet_distance(real, many, 50) == pytest.approx(frechet_distance(real, few), rel=0.4)


def cubic_discrepancy(real: torch.Tensor, fake: torch.Tensor) -> float:
    """Binkowski et al. 2018, eq. 4, by loops."""

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(x @ y / len(x) + 1) ** 3

    m, n = len(real), len(fake)
    within_real = sum(kernel(real[i], real[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    within_fake = sum(kernel(fake[i], fake[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    between = sum(kernel(x, y) for x in real for y in fake) / (m * n)
    return within_real + within_fake - 2 * between


def test_kernel_distance_is_the_unbiased_estimate():
    real, fake = 3 * gaussian(20, seed=1) + 7, 4 * gaussian(20, seed=2) + 8
    scale = real.var(0).mean().sqrt()
    expected = cubic_discrepancy((real - real.mean(0)) / scale, (fake - real.mean(0)) / scale)
    mean, deviation = kernel_distance(real, fake, 0, subset_size=20, n_subsets=3)
    assert mean == pytest.approx(expected, rel=1e-9)
    assert deviation == pytest.approx(0.0, abs=1e-9)


def test_kernel_distance_does_not_depend_on_unit_or_offset():
    real, fake = gaussian(100, seed=1), 1.5 * gaussian(100, seed=2) + 0.3
    assert kernel_distance(real, fake, 0) == pytest.approx(kernel_distance(50 * real - 80, 50 * fake - 80, 0), rel=1e-6)


def test_kernel_distance_of_the_same_distribution_is_zero_however_many():
    real = gaussian(2000, 8, 1)
    for n in (60, 1000):
        mean, deviation = kernel_distance(real, gaussian(n, 8, 2), 0)
        assert abs(mean) < 0.1
        assert 0.05 < deviation < 0.5
    assert kernel_distance(real, gaussian(1000, 8, 2) + 1, 0)[0] > 1


def test_draws_follow_from_the_seed_and_leave_the_global_generator():
    real, fake = gaussian(100, seed=1), gaussian(100, seed=2) + 0.2
    logits = gaussian(200, 3, 4)
    metrics: list[Callable[[int], object]] = [
        lambda seed: kernel_distance(real, fake, seed),
        lambda seed: inception_score(logits, seed),
    ]
    for metric in metrics:
        before = torch.get_rng_state()
        first = metric(1)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(5)
        assert metric(1) == first
        assert metric(2) != first
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert n_different_bins(real, fake, 1, 5) == n_different_bins(real, fake, 1, 5)
    assert (np.random.get_state()[1] == np_state).all()  # noqa: NPY002


def test_density_and_coverage_by_hand():
    """Balls with k = 1 around 0, 1, 3, 7 reach 1, 1, 2, 4 far."""
    real, fake = torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([[0.5], [2.5], [100.0]])
    # 0.5 lies in those of 0 and 1; 2.5 in that of 3 only (7's begins at 3).
    assert density_coverage(real, fake, k=1) == (3 / 3, 3 / 4)
    assert density_coverage(real, fake[2:], k=1) == (0.0, 0.0)
    # With k = 2 they reach 3, 2, 3 and 6: 0.5 lies in 0, 1, 3; 2.5 in 0, 1, 3 and 7.
    assert density_coverage(real, fake, k=2) == (7 / (2 * 3), 4 / 4)


def test_density_and_coverage_of_the_same_distribution(monkeypatch):
    real, fake = gaussian(1000, 5, 1), gaussian(800, 5, 2)
    density, coverage = density_coverage(real, fake)
    expected = 1 - math.prod((1000 - i) / (1800 - i) for i in range(1, 6))
    assert density == pytest.approx(1.0, abs=0.08)
    assert coverage == pytest.approx(expected, abs=0.03)
    monkeypatch.setattr("gan.evaluate.metrics._BLOCK", 333)
    assert density_coverage(real, fake) == (density, coverage)


def test_copies_cover_even_where_many_items_are_the_same():
    real = torch.zeros(20, 3)
    assert density_coverage(real, real[:4]) == (20 * 4 / (5 * 4), 1.0)
    items = 1e4 + gaussian(50, seed=1)
    assert density_coverage(items, items)[1] == 1.0


def test_precision_and_recall_by_hand():
    """Balls with k = 1 around 0, 1, 3, 7 reach 1, 1, 2, 4 far; those around 0.5, 2.5, 100 reach 2, 2, 97.5."""
    real, fake = torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([[0.5], [2.5], [100.0]])
    # 0.5 and 2.5 lie among the real ones. Of these all but the fourth are near 0.5 or 2.5, and 7 is 93 from 100.
    assert precision_recall(real, fake, k=1) == (2 / 3, 1.0)
    # Without what is far away, whose ball holds all.
    assert precision_recall(real, fake[:2], k=1) == (1.0, 3 / 4)
    # The other way round they are exchanged.
    assert precision_recall(fake, real, k=1) == (1.0, 2 / 3)
    # With k = 2 the real balls reach 3, 2, 3, 6.
    assert precision_recall(real, torch.tensor([[-3.0], [-3.01], [13.0], [13.01]]), k=2)[0] == 2 / 4
    with pytest.raises(InputError, match="needs 4 generated items or more, but there are 3"):
        precision_recall(real, fake)


def test_precision_and_recall_of_known_cases(monkeypatch):
    real, fake = gaussian(500, 5, 1), gaussian(500, 5, 2)
    assert precision_recall(real, real) == (1.0, 1.0)
    # The same distribution: both alike, by its symmetry, and high.
    same = precision_recall(real, fake)
    assert same[0] == pytest.approx(same[1], abs=0.06)
    assert min(same) > 0.7
    monkeypatch.setattr("gan.evaluate.metrics._BLOCK", 77)
    assert precision_recall(real, fake) == same
    monkeypatch.undo()
    # Nothing in common.
    assert precision_recall(real, fake + 100) == (0.0, 0.0)
    # One of two modes is dropped: as precise, but half of the recall.
    two_modes = torch.cat([real, gaussian(500, 5, 3) + 50])
    precision, recall = precision_recall(two_modes, torch.cat([fake, gaussian(500, 5, 4)]))
    assert precision > 0.7
    assert 0.4 < recall <= 0.5
    # A mode that is none: half of the precision, all of the recall.
    precision, recall = precision_recall(torch.cat([fake, gaussian(500, 5, 4)]), two_modes)
    assert 0.4 < precision <= 0.5
    assert recall > 0.7
    # Copies of few items are precise, and recall hardly anything.
    precision, recall = precision_recall(real, real[:5].repeat(100, 1))
    assert (precision, recall) == (1.0, 5 / 500)


def test_outliers_inflate_recall_more_than_coverage():
    """Naeem et al. 2020, figure 2: a few fakes far away make large balls, which hold real ones of a dropped mode."""
    real = torch.cat([gaussian(200, 3, 1), gaussian(200, 3, 2) + 20])
    fake = gaussian(400, 3, 3)
    far = torch.cat([fake[:-4], torch.tensor([[20.0, 20, 20], [60, 20, 20], [20, 60, 20], [20, 20, 60]])])
    assert 0.4 < precision_recall(real, fake)[1] <= 0.5
    assert precision_recall(real, far)[1] > 0.9
    assert density_coverage(real, far)[1] < 0.55


def test_bins_that_differ_by_hand():
    """Three far clusters of 100, 60 and 40 real items. Of 200 fakes 121 or 120 are in the first."""
    centres = 100 * torch.eye(3, dtype=torch.float64)

    def items(*counts: int) -> torch.Tensor:
        return torch.cat([centre + 0.1 * gaussian(n, 3, n) for centre, n in zip(centres, counts, strict=True)])

    real = items(100, 60, 40)
    # p 0.5 and 0.6, together 0.55: z = 0.1 / sqrt(0.55 * 0.45 / 100) = 2.01; the second: 0.06 / 0.0444 = 1.35.
    assert n_different_bins(real, items(120, 48, 32), 0, 3) == pytest.approx(1 / 3)
    # z = 0.095 / 0.04994 = 1.90.
    assert n_different_bins(real, items(119, 49, 32), 0, 3) == 0.0
    assert n_different_bins(real, items(195, 3, 2), 0, 3) == 1.0


def test_different_bins_of_the_same_and_of_another_distribution():
    real = gaussian(2000, 8, 1)
    assert n_different_bins(real, gaussian(1000, 8, 2), 0) <= 0.16
    assert n_different_bins(real, gaussian(1000, 8, 2) + 1, 0) > 0.5
    assert n_different_bins(real, real[:10].repeat(100, 1), 0) > 0.8


def test_inception_score_by_hand():
    certain = 1000.0 * torch.eye(4).repeat(50, 1)
    assert inception_score(certain, 0, 2)[0] == pytest.approx(4.0, rel=0.05)
    assert inception_score(torch.zeros(200, 4), 0) == pytest.approx((1.0, 0.0), abs=1e-12)
    # p is (3/4, 1/4) or the reverse: exp of the divergence from (1/2, 1/2).
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]]).repeat(5000, 1)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert inception_score(logits, 0, 2)[0] == pytest.approx(math.exp(divergence), rel=1e-3)


def test_too_few_items_are_refused():
    few, many = gaussian(4), gaussian(300)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: frechet_distance(few[:1], many), "Frechet distance needs 2 real items or more, but there are 1"),
        (lambda: frechet_distance(many, few, 5), "Frechet distance needs 5 generated items or more, but there are 4"),
        (lambda: frechet_distance(many, few, 1), "2 or more are needed"),
        (lambda: kernel_distance(many, few, 0), "needs 50 generated items or more, but there are 4"),
        (lambda: kernel_distance(0 * many, many, 0), "real items that differ"),
        (lambda: density_coverage(few, many), "needs 6 real items or more, but there are 4"),
        (lambda: density_coverage(many, few[:0]), "needs 1 generated items or more, but there are 0"),
        (lambda: n_different_bins(many, few, 0), "50 bins needs 250 generated items or more, but there are 4"),
        (lambda: n_different_bins(0 * many, many, 0), "50 bins need as many different real items, but there are 1"),
        (lambda: inception_score(few, 0), "needs 40 classified items or more, but there are 4"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()


def test_numbers_that_are_not_finite_are_refused():
    items, bad = gaussian(300), gaussian(300)
    bad[7, 1] = torch.nan
    bad[9] = torch.inf
    for metric in (
        frechet_distance,
        density_coverage,
        precision_recall,
        lambda real, fake: kernel_distance(real, fake, 0),
        lambda real, fake: n_different_bins(real, fake, 0),
    ):
        with pytest.raises(InputError, match="2 of 300 generated items"):
            metric(items, bad)
        with pytest.raises(InputError, match="2 of 300 real items"):
            metric(bad, items)
    with pytest.raises(InputError, match="2 of 300 classified items"):
        inception_score(bad, 0)
