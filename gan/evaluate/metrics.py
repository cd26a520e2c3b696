"""How near the features of generated images are to those of real ones.

Pure functions of features, shape (n, n_features), worked out in double precision; what is random in them follows from
a seed. What a metric says depends on how many items it is given, so numbers are only comparable at equal numbers: see
`frechet_distance`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gan.errors import InputError

# Rows of a matrix of distances at a time.
_BLOCK = 1024
# Items that a bin must have on average for counts to be nearly Gaussian, the rule of thumb of every textbook.
_MIN_IN_BIN = 5
# Deviations of a Gaussian that 5 % lie beyond, at both sides.
_Z_OF_5_PERCENT = 1.959964


def frechet_distance(real: Tensor, fake: Tensor, block_size: int | None = None) -> float:
    """Frechet distance of two Gaussians (Heusel et al. 2017, eq. 6).

    |mu_r - mu_f|^2 + trace(C_r + C_f - 2 (C_r C_f)^(1/2)), with the means and covariances of the features.

    It is too high by an amount that falls with the number of items: 65 of the same distribution are as far away as
    260 of a distribution that is plainly wrong. For rows of a table that can be compared, give all of them the same
    real items, and as block_size the number of items of the row that has least (the held-out crops). A row that has
    more is cut into blocks of so many, each is measured, and the result is their mean: of the same bias, and of less
    variance. Blocks are cut in the order given, which must be random, and what is left is not used. Even so, what
    varies too little is less biased and can look better than it is: see what `density_coverage` says of it.

    Args:
        real: Shape (n_real, n_features).
        fake: Shape (n_fake, n_features).
        block_size: Generated items that are measured at once, 2 or more; all if not given.

    Returns:
        The distance, in squared units of the features, >= 0 but for rounding.

    Raises:
        InputError: If there are less than two real items or less than a block of generated ones, or a value is not
            finite.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    block_size = len(fake) if block_size is None else block_size
    if block_size < 2:
        raise InputError(f"a Frechet distance of {block_size} generated items has no meaning; 2 or more are needed")
    real, fake = _checked(real, fake, "a Frechet distance", 2, block_size)
    centre = real.mean(0)
    # The same distance, but sums of squares around 0 keep their digits.
    # Of several processes one measures.
    metric = FrechetInceptionDistance(_AsItIs(real.shape[1]), reset_real_features=False, sync_on_compute=False)
    metric.to(real.device)
    metric.update(real - centre, real=True)
    distances = []
    for block in torch.split((fake - centre)[: len(fake) // block_size * block_size], block_size):
        metric.update(block, real=False)
        distances.append(float(metric.compute()))
        metric.reset()
    return sum(distances) / len(distances)


def kernel_distance(
    real: Tensor, fake: Tensor, seed: int, subset_size: int = 50, n_subsets: int = 500
) -> tuple[float, float]:
    """Squared maximum mean discrepancy under a cubic kernel (Binkowski et al. 2018, section 4): KID.

    k(x, y) = (x . y / n_features + 1)^3, on features that are moved to the real ones' mean and divided by the root of
    their mean variance: without that, the result would depend on the unit of the features, and be 1 or x . y or its
    cube that decides. One divisor for all features, so that they keep the weights that the embedding gave them and
    one that hardly varies cannot drown the others.

    Without bias whatever the number of items is: the mean can be compared between rows of different numbers, and can
    be negative where there is no difference.

    Args:
        real: Shape (n_real, n_features).
        fake: Shape (n_fake, n_features).
        seed: Which subsets are drawn.
        subset_size: Items of each kind in a subset.
        n_subsets: Number of subsets.

    Returns:
        Mean and standard deviation over the subsets: the second is that of one subset of this size.

    Raises:
        InputError: If there are less than subset_size items of either kind, all real ones are the same, or a value is
            not finite.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = _checked(real, fake, "a kernel distance", subset_size, subset_size)
    mean, deviation = real.mean(0), real.var(0).mean().sqrt()
    if deviation == 0:
        raise InputError("a kernel distance needs real items that differ, but all of them have the same features")
    with _quiet():
        metric = KernelInceptionDistance(
            _AsItIs(real.shape[1]), subsets=n_subsets, subset_size=subset_size, sync_on_compute=False
        )
    metric.update((real - mean) / deviation, real=True)
    metric.update((fake - mean) / deviation, real=False)
    with _drawn_from(seed):
        distance, spread = metric.compute()
    return float(distance), float(spread)


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """How many generated items lie where real ones do, and how many real ones have one near (Naeem et al. 2020, 3.2).

    With B_i the ball around real item i that reaches to its k-th nearest other real item, both over all i of N and j
    of M:
    density = 1 / (k M) sum_j sum_i [fake_j in B_i], coverage = 1 / N sum_i [some fake_j in B_i].

    Items at a ball's very edge are in it, so that exact copies of items that occur more than k times count.

    Fakes of the same distribution have a density of 1 and a coverage of 1 - (N-1)...(N-k) / (M+N-1)...(M+N-k)
    (lemma 2), which for k = 5 and M = N is about 0.97: coverage depends on both numbers of items.

    Args:
        real: Shape (n_real, n_features).
        fake: Shape (n_fake, n_features).
        k: Which neighbour a ball reaches to.

    Returns:
        Density, >= 0 and possibly above 1, and coverage in [0, 1].

    Raises:
        InputError: If there are not more than k real items or no generated one, or a value is not finite.
    """
    real, fake = _checked(real, fake, "density and coverage", k + 1, 1)
    n_inside, n_covered = 0, 0
    for inside in _in_balls(real, fake, k):
        n_inside += int(inside.sum())
        n_covered += int(inside.any(1).sum())
    return n_inside / (k * len(fake)), n_covered / len(real)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """How many generated items lie among real ones, and how many real ones among generated ones (Kynkaanniemi 2019).

    With f(x, Y) = 1 if |x - y| <= |y - NN_k(y, Y)| for some y of Y, else 0, NN_k(y, Y) the k-th nearest other item
    (eq. 1):
    precision = 1 / M sum_j f(fake_j, real), recall = 1 / N sum_i f(real_i, fake) (eq. 2).

    Items at a ball's very edge are in it, so that copies count. One item far away makes a large ball, which density
    and coverage are not moved by. Both depend on both numbers of items, which should be equal, as in the paper.

    Args:
        real: Shape (n_real, n_features).
        fake: Shape (n_fake, n_features).
        k: Which neighbour a ball reaches to.

    Returns:
        Precision and recall, both in [0, 1].

    Raises:
        InputError: If there are not more than k items of either kind, or a value is not finite.
    """
    real, fake = _checked(real, fake, "precision and recall", k + 1, k + 1)
    return _share_inside(fake, real, k), _share_inside(real, fake, k)


def n_different_bins(real: Tensor, fake: Tensor, seed: int, n_bins: int = 50) -> float:
    """Share of bins that hold another part of the generated items than of the real ones (Richardson and Weiss 2018).

    The bins are the clusters that k-means finds in the real features. A bin is different if the hypothesis that both
    parts are the same is rejected at 5 %: |p_r - p_f| / sqrt(p (1 - p) (1 / n_r + 1 / n_f)) > 1.96, with p that of both
    taken together (the two-proportion z-test). The paper's NDB / K; Engel et al. 2019, "GANSynth", report NDB of 50
    bins. Fakes of the same distribution have about 0.05. It takes many items to find small differences: comparable at
    equal numbers only.

    Args:
        real: Shape (n_real, n_features).
        fake: Shape (n_fake, n_features).
        seed: Where k-means starts.
        n_bins: Number of bins.

    Returns:
        In [0, 1].

    Raises:
        InputError: If there are less than 5 items for each bin, of either kind, less different real items than bins,
            or a value is not finite.
    """
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]

    n_needed = _MIN_IN_BIN * n_bins
    real, fake = _checked(real, fake, f"a comparison of {n_bins} bins", n_needed, n_needed)
    if (n_different := len(torch.unique(real, dim=0))) < n_bins:
        raise InputError(f"{n_bins} bins need as many different real items, but there are {n_different}")
    clusters = KMeans(n_bins, n_init=3, random_state=seed % 2**32).fit(real.cpu().numpy())
    in_real = torch.from_numpy(clusters.labels_).long().bincount(minlength=n_bins)
    in_fake = torch.from_numpy(clusters.predict(fake.cpu().numpy())).long().bincount(minlength=n_bins)
    p_real, p_fake = in_real.double() / len(real), in_fake.double() / len(fake)
    p = (in_real + in_fake).double() / (len(real) + len(fake))
    error = (p * (1 - p) * (1 / len(real) + 1 / len(fake))).sqrt()
    return float(((p_real - p_fake).abs() > _Z_OF_5_PERCENT * error).double().mean())


def inception_score(logits: Tensor, seed: int, n_splits: int = 10) -> tuple[float, float]:
    """How sure a classifier is of each item and how even of all (Salimans et al. 2016, section 4).

    exp(E_x KL(p(y | x) || p(y))), between 1 and the number of classes, in each of several random parts.

    Args:
        logits: Shape (n, n_classes), of generated items.
        seed: Which part an item comes into.
        n_splits: Number of parts, 2 or more, of equal size; what is left is not used.

    Returns:
        Mean and standard deviation over the parts.

    Raises:
        InputError: If a part would have less items than there are classes, or a value is not finite.
    """
    from torchmetrics.image.inception import InceptionScore

    n_needed = n_splits * logits.shape[1]
    logits = _checked_items(logits, "classified", f"an inception score of {n_splits} parts", n_needed)
    with _quiet():
        metric = InceptionScore(_AsItIs(logits.shape[1]), splits=n_splits, sync_on_compute=False)
    # No class quite without probability, whose logarithm would not be a number.
    logits = (logits - logits.amax(1, keepdim=True)).clamp_min(-700.0)
    metric.update(logits[: len(logits) // n_splits * n_splits])
    with _drawn_from(seed):
        score, spread = metric.compute()
    return float(score), float(spread)


class _AsItIs(nn.Module):
    """What torchmetrics takes for its network: the features are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _checked(real: Tensor, fake: Tensor, what: str, n_real: int, n_fake: int) -> tuple[Tensor, Tensor]:
    return _checked_items(real, "real", what, n_real), _checked_items(fake, "generated", what, n_fake)


def _checked_items(items: Tensor, kind: str, what: str, n_needed: int) -> Tensor:
    if len(items) < n_needed:
        raise InputError(f"{what} needs {n_needed} {kind} items or more, but there are {len(items)}")
    n_bad = int((~items.isfinite()).any(1).sum())
    if n_bad:
        raise InputError(f"{what} needs finite numbers, but {n_bad} of {len(items)} {kind} items have others")
    return items.detach().double()


def _in_balls(centres: Tensor, items: Tensor, k: int) -> Iterator[Tensor]:
    """Which items lie in each ball that reaches to its centre's k-th nearest other centre, some balls at a time."""
    for block in torch.split(centres, _BLOCK):
        # An item is its own nearest, at 0.
        reach = _distances(block, centres).kthvalue(k + 1, dim=1, keepdim=True).values
        yield _distances(block, items) <= reach


def _share_inside(items: Tensor, centres: Tensor, k: int) -> float:
    found = torch.zeros(len(items), dtype=torch.bool, device=items.device)
    for inside in _in_balls(centres, items, k):
        found |= inside.any(0)
    return float(found.double().mean())


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Not by way of a product of matrices, whose rounding would tell an item from its copy.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Have torch's random permutations follow from a seed, and leave its generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that features are kept in memory, where they come from."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `.*` will save all extracted features")
        yield
