"""The benchmark of readings tells right from wrong, and a word that points to a fault from one that does not."""

from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def readings(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import readings

    return readings


@pytest.fixture
def drawn(readings, tmp_path):
    kind = next(kind for kind in readings.kinds() if kind.name == "short_viridis")
    return kind, *readings.drawing_of(kind, "noisy", None, tmp_path)


def test_each_fault_is_found_and_named(readings, drawn):
    kind, path, shown = drawn

    def verdict(given=(), **changes):
        wrong = replace(shown, options=shown.options | changes)
        reading = readings.read(path, kind, wrong, set(given), "noisy")
        return reading.verdict, reading.what.split(":")[0]

    assert verdict()[0] == "RIGHT"
    # The reader is told what is not so.
    assert verdict(["colormap"], colormap="viridis_r")[1] == "reversed"
    assert verdict(["hop_length"], hop_length=64)[1] == "length"
    assert verdict(["range_db"], range_db=40)[1] == "levels"
    assert verdict(["n_fft"], n_fft=1024)[1].startswith("pitch")


def test_an_option_that_was_given_is_no_advice(readings):
    assert "seconds" in readings.words_of("length", set())
    assert "seconds" not in readings.words_of("length", {"seconds"})


def test_what_a_message_names_is_given(readings, drawn):
    kind, path, shown = drawn
    refused = readings.Reading("REFUSED", "", "give --n_fft", "")
    assert readings.advised(path, kind, shown, set(), refused, "noisy") == "right by n_fft (1)"
    circle = readings.Reading("REFUSED", "", "leave --n_fft out", "")
    assert readings.advised(path, kind, shown, {"n_fft"}, circle, "noisy") == "circle"
