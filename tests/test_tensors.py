"""Safetensors files that say what they are: what comes back, what is refused and in which words."""

import json

import pytest
import torch
from torch import nn

from gan.errors import InputError
from gan.tensors import Format, with_weights

PAIR = Format("pair 1", "a pair", "pair of `gan pairs`")


def test_what_is_written_comes_back(tmp_path):
    wide = torch.randn(3, 4, requires_grad=True)
    PAIR.write(tmp_path / "new" / "a.safetensors", {"wide": wide, "turned": wide.T}, {"of": "two"})
    with PAIR.read(tmp_path / "new" / "a.safetensors") as (metadata, tensors):
        assert metadata == {"format": "pair 1", "of": "two"}
        assert torch.equal(tensors["wide"], wide)
        assert torch.equal(tensors["turned"], wide.T)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.safetensors"]


def test_whatever_goes_wrong_is_told_of_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    PAIR.write(path, {}, {"number": "{"})
    for other, message in (
        (tmp_path / "none.safetensors", r"none\.safetensors: cannot be read as a pair \(FileNotFoundError: "),
        (path, r"a\.safetensors: cannot be read as a pair \(JSONDecodeError: "),
    ):
        with pytest.raises(InputError, match=message), PAIR.read(other) as (metadata, _):
            json.loads(metadata["number"])
    with pytest.raises(InputError, match=f"^{path}: number is odd$"), PAIR.read(path):
        raise InputError("number is odd")
    message = r"a\.safetensors: holds no trio of `gan trios`$"
    with pytest.raises(InputError, match=message), Format("trio 1", "a trio", "trio of `gan trios`").read(path):
        pass


def test_weights_that_do_not_fit_cost_no_memory():
    made = []

    def make() -> nn.Linear:
        made.append(nn.Linear(2**30, 2**20))
        return made[-1]

    with pytest.raises(RuntimeError, match="size mismatch"):
        with_weights(make, {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)})
    assert [network.weight.device.type for network in made] == ["meta"]
    linear = with_weights(lambda: nn.Linear(2, 3), {"weight": torch.eye(3)[:, :2], "bias": torch.ones(3)})
    assert linear(torch.tensor([5.0, 7.0])).tolist() == [6.0, 8.0, 1.0]
    assert not linear.training
    assert not any(weight.requires_grad for weight in linear.parameters())
