"""What augmentation changes, how often, that gradients pass through it, and how its probability is steered."""

import pytest
import torch

from gan.errors import InputError
from gan.model.augment import Augment

NOTHING = {"time_shift": 0.0, "frequency_shift": 0, "attenuation": 0.0, "time_mask": 0.0, "band_mask": 0.0}


def images(n: int = 200, n_freqs: int = 16, n_frames: int = 20) -> torch.Tensor:
    return torch.rand(n, 1, n_freqs, n_frames, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9


def augmented(given: torch.Tensor, probability: float = 1.0, seed: int = 0, **options) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Augment(probability, **(NOTHING | options))(given)


@pytest.mark.parametrize(("side", "options"), [(3, {"time_shift": 0.25}), (2, {"frequency_shift": 3})])
def test_shift_moves_an_image_and_fills_up_with_silence(side, options):
    given = images()
    reach = {3: 5, 2: 3}[side]
    seen = set()
    for before, after in zip(given, augmented(given, **options), strict=True):
        length = before.shape[side - 1]
        for by in range(-reach, reach + 1):
            expected = torch.full_like(before, -1.0)
            kept = length - abs(by)
            moved = before.narrow(side - 1, max(0, -by), kept)
            expected.narrow(side - 1, max(0, by), kept).copy_(moved)
            if torch.equal(after, expected):
                seen.add(by)
                break
        else:
            pytest.fail("no shift of the image")
    assert seen == set(range(-reach, reach + 1))


def test_attenuation_lowers_levels_down_to_the_floor():
    given = images()
    by = given - augmented(given, attenuation=0.2)
    lowered = by.flatten(1).max(dim=1).values
    assert float(lowered.min()) >= 0
    assert 0.35 < float(lowered.max()) <= 0.4  # 0.2 of the range of 2
    expected = (given - lowered[:, None, None, None]).clamp_min(-1.0)
    torch.testing.assert_close(augmented(given, attenuation=0.2), expected)


@pytest.mark.parametrize(("side", "option"), [(3, "time_mask"), (2, "band_mask")])
def test_mask_silences_one_stretch(side, option):
    given = images()
    after = augmented(given, **{option: 0.5})
    silent = (after == -1.0).squeeze(1)
    length = given.shape[side]
    whole = silent.all(dim=2 if side == 2 else 1)
    torch.testing.assert_close(silent.float().mean(), whole.float().mean())  # whole rows or columns only
    torch.testing.assert_close(after[~silent[:, None]], given[~silent[:, None]])
    widths = whole.sum(dim=1)
    assert int(widths.max()) <= length // 2
    assert float(widths.float().mean()) == pytest.approx(length / 4, rel=0.15)
    edges = (whole[:, 1:] != whole[:, :-1]).sum(dim=1)
    assert int(edges.max()) <= 2


def test_probability_is_of_each_change():
    given = images(2000)
    changed = (augmented(given, 0.3, attenuation=0.5) != given).flatten(1).any(dim=1)
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.04)
    assert Augment(0.0)(given) is given


def test_the_generator_learns_through_it():
    given = images().requires_grad_(True)
    out = augmented(given, time_shift=0.25, frequency_shift=3, attenuation=0.1, time_mask=0.3, band_mask=0.3)
    out.sum().backward()
    # Every cell that is still heard passes its gradient on as it is.
    assert set(given.grad.unique().tolist()) == {0.0, 1.0}
    assert float(given.grad.sum()) == int((out > -1.0).sum())


def test_no_batch_waits_for_a_number():
    """Tensors of the meta device have none; to ask for one raises."""
    with torch.device("meta"):
        augment = Augment(0.5, images_to_certainty=1000)
        for _ in range(5):
            seen = augment(torch.rand(8, 1, 16, 20))
            augment.update(seen.mean((1, 2, 3)), -seen.mean((1, 2, 3)), relative=True)
    assert seen.shape == (8, 1, 16, 20)
    assert augment.probability.is_meta


def test_the_same_seed_changes_alike():
    given = images()
    options = {"time_shift": 0.25, "frequency_shift": 3, "attenuation": 0.1, "time_mask": 0.3, "band_mask": 0.3}
    assert torch.equal(augmented(given, 0.5, seed=4, **options), augmented(given, 0.5, seed=4, **options))
    assert not torch.equal(augmented(given, 0.5, seed=4, **options), augmented(given, 0.5, seed=5, **options))


def test_probability_follows_how_sure_the_discriminator_is():
    augment = Augment(0.5, target=0.6, images_to_certainty=1000)
    sure, unsure = torch.full((25,), 2.0), torch.tensor([2.0, -1.0] * 12 + [0.1])
    for _ in range(4):
        augment.update(sure, -sure, relative=False)
    assert augment.probability == pytest.approx(0.6)  # 100 of 1000 images
    for _ in range(8):
        augment.update(unsure, -unsure, relative=False)
    assert augment.probability == pytest.approx(0.4)
    for _ in range(40):
        augment.update(sure, -sure, relative=False)
    assert augment.probability == pytest.approx(0.8)  # no higher: changes would leak into samples
    for _ in range(80):
        augment.update(unsure, -unsure, relative=False)
    assert augment.probability == 0.0


@pytest.mark.parametrize(
    ("real", "relative", "expected"),
    [
        # Fakes are at -9. Far above them, but below zero, which means nothing to a relative loss.
        ([-3.0] * 25, True, 0.6),
        ([-3.0] * 25, False, 0.4),
        # Half-way between the means is -6.1: 15 of 25 above, a mean sign of 0.2.
        ([0.0] * 15 + [-8.0] * 10, True, 0.4),
    ],
)
def test_zero_of_a_relative_loss_lies_between_real_and_fake(real, relative, expected):
    augment = Augment(0.5, images_to_certainty=1000)
    for _ in range(4):
        augment.update(torch.tensor(real), torch.full((25,), -9.0), relative)
    assert augment.probability == pytest.approx(expected)


def test_without_a_target_it_stays():
    augment = Augment(0.3, target=None)
    for _ in range(8):
        augment.update(torch.ones(8), -torch.ones(8), relative=False)
    assert augment.probability == 0.3
    augment = Augment(1)
    augment.load_state_dict(Augment(0.3).state_dict())
    assert augment.probability == pytest.approx(0.3)


def test_state_goes_on_where_it_was(tmp_path):
    one = Augment(0.1, images_to_certainty=1000)
    for number in range(10):
        if number == 6:
            torch.save(one.state_dict(), tmp_path / "state.pt")
            other = Augment(0.7, images_to_certainty=1000)
            other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        one.update(torch.ones(25), -torch.ones(25), relative=False)
        if number >= 6:
            other.update(torch.ones(25), -torch.ones(25), relative=False)
    assert other.probability == one.probability == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.5}, "probability is 1.5"),
        ({"time_mask": -0.1}, "time_mask is -0.1"),
        ({"target": 1.0}, "between -1 and 1"),
        ({"images_to_certainty": 0}, "at least 1"),
        ({"frequency_shift": -1}, "frequency_shift -1"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Augment(**options)
