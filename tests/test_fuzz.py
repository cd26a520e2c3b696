"""Damaged files of every kind are read or refused in a line: a few here, thousands with `python tests/fuzz.py`."""

import pytest
from fuzz import fuzz, shares, table


@pytest.mark.parametrize("kind", ["png", "store"])
def test_a_few(kind):
    row = fuzz(kind, range(30), seed=0)
    assert row.wrong == []
    assert row.n == 30
    assert min(row.accepted, row.refused) > 2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), shares(900, ()).items())
def test_many(kind, n):
    row = fuzz(kind, range(n), seed=2)
    assert row.wrong == [], table({kind: row})
    assert min(row.accepted, row.refused) > 0
