"""`gan blind`: what is in the page, what is not, and what answers to it say."""

import base64
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
import torch
from scipy.stats import fisher_exact, permutation_test
from scipy.stats.contingency import odds_ratio

from gan.commands.main import main
from gan.data.crops import Crop
from gan.errors import InputError
from gan.evaluate.answers import REAL, Answers, Key, Trial, report
from gan.evaluate.opinion import difference, discrimination, opinion, share
from gan.listen.blind import _Question, _questions, make_test, possible_kinds
from gan.listen.render import latents_of, lengths
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.settings import SpectrogramSettings
from gan.trained import load_run, open_data

N_ITER = "--phase.n_iter=2"
N_SAMPLES, RATE = 63 * 32, 8000


def blind(*arguments: Any) -> int:
    return main(["blind", *(str(getattr(each, "folder", each)) for each in arguments), N_ITER])


def content(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="test">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def wavs(page: Path) -> list[bytes]:
    return [base64.b64decode(sound) for sound in content(page)["sounds"]]


def waveforms(page: Path) -> np.ndarray:
    return np.stack([soundfile.read(io.BytesIO(wav))[0] for wav in wavs(page)])


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """1 if they are the same but for their levels."""
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def heard_of(trial: Trial, key: Key) -> list[str]:
    return [key.sounds[sound].partition(": ")[0] for sound in trial.sounds]


def test_the_key_says_what_was_embedded(endless, conditional, capsys):
    assert blind(endless, conditional, "--real", "--trials=8", "--seed=5", "--output=both") == 0
    said = capsys.readouterr().out
    key = Key.load(Path("both/key.json"))
    names = [run.folder.resolve().name for run in (endless, conditional)]
    assert list(key.systems) == [*names, REAL]
    assert f"test {key.test}, 24 questions about 40 sounds of 0.25 s at " in said
    assert "gan blind --score" in said

    embedded = waveforms(Path("both/blind.html"))
    assert embedded.shape == (40, N_SAMPLES)
    data = open_data(endless, endless.newest_checkpoint())
    recordings = [image.recording for image in data.store.images]
    n_real = 0
    for sound, text in zip(embedded, key.sounds, strict=True):
        name, _, source = text.partition(": ")
        if name == REAL:
            n_real += 1
            images = data.crops()[Crop(recordings.index(source.removesuffix(" from 0.00 s")), 0)].images
        else:
            trained = load_run((endless, conditional)[names.index(name)])
            seed, _, label = source.removeprefix("seed ").partition(", label ")
            assert bool(label) == bool(trained.class_names)
            labels = torch.tensor([trained.class_names.index(label)]) if label else None
            images = trained.gan.sample(latents_of(int(seed), lengths(trained, None)[1]), labels)[..., :64]
        expected = waveform_from_image(images, data.scale, DeepGriffinLim(data.settings, n_iter=2))[0].numpy()
        # But for fades, level and 16 bits.
        assert likeness(sound[50:-50], expected[50:-50]) > 0.9999
    assert n_real in (2 + 4, 3 + 4)
    # Nothing comes twice.
    assert len(set(key.sounds)) == 40
    assert np.abs(np.corrcoef(embedded) - np.eye(40)).max() < 0.999


@pytest.fixture
def both(endless, conditional) -> Path:
    if not Path("kept").exists():
        assert blind(endless, conditional, "--real", "--trials=9", "--output=kept") == 0
    return Path("kept")


def test_sounds_differ_in_nothing_but_what_they_are(both):
    files = wavs(both / "blind.html")
    assert {len(file) for file in files} == {44 + 2 * N_SAMPLES}
    assert len({file[:44] for file in files}) == 1
    meter = pyloudnorm.Meter(RATE, block_size=N_SAMPLES / RATE)
    sounds = waveforms(both / "blind.html")
    loudness = np.array([meter.integrated_loudness(sound) for sound in sounds])
    about = Key.load(both / "key.json").about
    assert np.abs(loudness - about["loudness_lufs"]).max() < 0.1
    # The loudest is as loud as it may be, unless that is louder than usual.
    peaks_db = 20 * np.log10(np.abs(sounds).max(1))
    assert peaks_db.max() == pytest.approx(-1, abs=0.01) if about["loudness_lufs"] < -23 else peaks_db.max() < -1
    # Faded: the first and last samples are silence.
    assert not sounds[:, [0, -1]].any()


def test_the_page_holds_no_hints(both, endless, conditional):
    page = (both / "blind.html").read_text()
    key = Key.load(both / "key.json")
    held = content(both / "blind.html")
    assert held.keys() == {"id", "trials", "sounds"}
    assert held["id"] == key.test
    assert all(trial.keys() == {"kind", "sounds"} for trial in held["trials"])
    assert [(trial["kind"], tuple(trial["sounds"])) for trial in held["trials"]] == [
        (trial.kind, trial.sounds) for trial in key.trials
    ]
    # Neither the order of sounds nor that of questions is that in which they were made.
    numbers = [number for trial in key.trials for number in trial.sounds]
    assert sorted(numbers) == list(range(len(numbers)))
    assert numbers != sorted(numbers)
    # Words of the page, without the sounds; the same of every test but for its id and which sounds it asks for.
    words = page.lower()
    for sound in held["sounds"]:
        words = words.replace(sound.lower(), "")
    hints = [*list(key.systems)[:2], *key.sounds, ">bell", "drum", "seed", "ckpt", "epoch", ".wav", "images", "right"]
    for hint in hints:
        assert hint.lower() not in words, hint
    assert "http" not in words.replace("http-equiv", "")
    assert "src=" not in words.replace("audio.src", "")


def test_balanced(both):
    key = Key.load(both / "key.json")
    runs = list(key.systems)[:2]
    for trial in key.trials:
        assert list(trial.systems) == heard_of(trial, key)
    kinds = {kind: [trial for trial in key.trials if trial.kind == kind] for kind in ("quality", "origin", "abx")}
    assert {len(trials) for trials in kinds.values()} == {9}
    assert Counter(trial.systems[0] for trial in kinds["quality"]) == dict.fromkeys(key.systems, 3)
    counts = Counter(trial.systems[0] for trial in kinds["origin"])
    assert counts[REAL] in (4, 5)
    assert sorted(counts[run] for run in runs) in ([2, 2], [2, 3])
    assert all(trial.right == ("real" if trial.systems[0] == REAL else "generated") for trial in kinds["origin"])
    cases = Counter((trial.systems[0], trial.right) for trial in kinds["abx"])
    assert sorted(cases.values()) == [2, 2, 2, 3]
    for trial in kinds["abx"]:
        a, b, x = trial.systems
        assert {a, b} == set(runs)
        assert x == {"A": a, "B": b}[trial.right]


def test_sounds_of_an_abx_question_are_of_one_class(conditional):
    trained = load_run(conditional)
    runs = {"one": trained, "other": trained}
    made = make_test(runs, None, ["abx"], 12, lambda settings: DeepGriffinLim(settings, n_iter=0), 0)
    labels = [[made.key.sounds[sound].partition("label ")[2] for sound in trial.sounds] for trial in made.key.trials]
    assert all(len(set(each)) == 1 for each in labels)
    assert Counter(each[0] for each in labels) == {
        "bell": 8,
        "low drum": 4,
    }  # 4 cases a turn, bell's turn first and third


def test_the_same_seed_makes_the_same_page(both, endless, conditional):
    def made(seed: int, name: str) -> tuple[bytes, bytes]:
        arguments = ("--real", "--trials=9", f"--seed={seed}", f"--output={name}")
        assert blind(endless, conditional, *arguments) == 0
        return (Path(name) / "blind.html").read_bytes(), (Path(name) / "key.json").read_bytes()

    again, other = made(0, "again"), made(1, "other")
    assert again == ((both / "blind.html").read_bytes(), (both / "key.json").read_bytes())
    assert other[0] != again[0]
    assert Key.load(Path("other/key.json")).test != Key.load(Path("again/key.json")).test


def test_runs_of_other_rates_and_lengths_become_alike(endless, conditional):
    first, second = load_run(endless), load_run(conditional)
    slow = replace(second, settings=SpectrogramSettings(6000, 128, 32, 128))
    made = make_test(
        {"fast": first, "slow": slow}, None, ["abx"], 4, lambda settings: DeepGriffinLim(settings, n_iter=0), 0
    )
    assert (made.key.about["sample_rate"], made.key.about["n_samples"]) == (6000, N_SAMPLES * 6000 // 8000)
    held = json.loads(re.search(r'id="test">(.*?)</script>', made.page)[1])
    assert {soundfile.info(io.BytesIO(base64.b64decode(wav))).samplerate for wav in held["sounds"]} == {6000}
    assert len({len(wav) for wav in held["sounds"]}) == 1


class Silent(torch.nn.Module):
    """A generator's stand-in that makes every other sound silence, or all."""

    def __init__(self, generator: torch.nn.Module, every: int) -> None:
        super().__init__()
        self.generator, self.every, self.n = generator, every, 0

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        self.n += 1
        images = self.generator(latents)
        return torch.full_like(images, -0.98) if self.n % self.every == 0 else images


@pytest.mark.parametrize("every", [1, 2])
def test_silence_is_not_asked_about(endless, every):
    trained = load_run(endless)
    trained.gan.ema.module = Silent(trained.gan.ema.module, every)
    arguments = ({"run": trained}, None, ["quality"], 6, lambda settings: DeepGriffinLim(settings, n_iter=0), 0)
    if every == 1:
        with pytest.raises(InputError, match="run: 20 sounds in a row are silence"):
            make_test(*arguments)
        return
    made = make_test(*arguments)
    assert made.key.about["n_silent"] == {"run": 5}
    assert sorted(made.key.sounds) == sorted(f"run: seed {seed}" for seed in (0, 2, 4, 6, 8, 10))


def test_what_can_be_asked(endless, conditional, capsys):
    assert possible_kinds(1, False) == ["quality"]
    assert blind(endless, "--real", "--trials=4", "--output=one") == 0
    assert Counter(trial.kind for trial in Key.load(Path("one/key.json")).trials) == {"quality": 4, "origin": 4}
    assert blind(endless, conditional, "--kinds", "abx", "--trials=8", "--output=abx") == 0
    assert {trial.kind for trial in Key.load(Path("abx/key.json")).trials} == {"abx"}
    assert blind(endless, "--trials=4") == 0
    assert (endless.folder / "blind" / "key.json").exists()
    capsys.readouterr()
    for arguments, message in (
        ((), "0 runs are given"),
        ((endless, endless, endless), "3 runs are given"),
        ((endless, endless), "given twice; there is no difference to hear"),
        ((endless, "--trials=3"), "trials is 3; it must be 4 or more"),
        ((endless, conditional, "--trials=7"), "trials is 7; it must be 8 or more"),
        ((endless, "--trials=1000000000000"), "trials is 1000000000000; it must be 1000 or less"),
        ((endless, "--trials=4", "--output=one/key.json"), "one/key.json: cannot be written, one/key.json is a file"),
        ((endless, "--real", "--kinds", "abx"), "kinds has abx, which needs two runs"),
        ((endless, "--kinds", "origin"), "kinds has origin, which needs --real"),
        (
            (endless, "--real", "--trials=20", "--output=many"),
            "12 different crops are too few, there are no more; lower",
        ),
        ((endless, "--trials=4"), "blind.html is there already; give another --output, or --overwrite"),
        ((endless, "--key=one/key.json"), "key is given without --score"),
        ((endless, "--score", "one/key.json"), "runs and --score are given"),
        (("no run",), "no such run"),
    ):
        assert blind(*arguments) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("gan blind: ")
        assert message in said
    assert not Path("many").exists()
    before = (endless.folder / "blind" / "blind.html").read_bytes()
    assert blind(endless, "--trials=4", "--seed=9", "--overwrite") == 0
    assert (endless.folder / "blind" / "blind.html").read_bytes() != before


def test_shares():
    # Newcombe 1998, Statistics in Medicine 17, table I, the score method.
    for k, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = share(np.arange(n) < k)
        assert (found.n, found.value) == (n, pytest.approx(k / n))
        assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_shares_of_several_listeners_count_sounds():
    one = np.arange(20)[:, None] < 15
    # Those who agree say no more than one of them.
    together = share(np.tile(one, 5))
    assert (together.n, together.low, together.high) == (100, share(one).low, share(one).high)
    # Nor do those of whom nothing but right answers is known.
    assert share(np.ones((20, 5), bool)).low == share(np.ones(20, bool)).low
    # Each for himself: all answers count, but for what the deviation of few sounds hides.
    alone = share(np.add.outer(np.arange(20), np.arange(8)) % 8 < 6)
    assert alone.low == pytest.approx(share(np.arange(160) < 120).low)
    # By hand: means 1, 1, 1/2, 0 have the variance 11/48, and 4 (15/64) / (11/48) answers are independent, times the
    # squared ratio of 1.95996 and Student's 3.18245: less than one a sound.
    few = share(np.array([[1, 1], [1, 1], [1, 0], [0, 0]], bool))
    z2 = 1.959964**2 / 4
    assert few.high == pytest.approx((0.625 + z2 / 2 + math.sqrt(z2 * (0.625 * 0.375 + z2 / 4))) / (1 + z2), abs=1e-6)


def balanced(n: int) -> np.ndarray:
    return np.arange(n) < n // 2


def least_share(answers: list[list[int]]) -> float:
    """Share of right answers at the lower end of the odds ratio: hypergeometric probabilities tilted to it."""
    (hits, misses), (false_alarms, _) = answers
    n, n_said = hits + misses, hits + false_alarms
    ratio = odds_ratio(answers).confidence_interval().low
    weights = {k: math.comb(n, k) * math.comb(n, n_said - k) * ratio**k for k in range(min(n, n_said) + 1)}
    mean = sum(k * weight for k, weight in weights.items()) / sum(weights.values())
    return (mean + n - (n_said - mean)) / (2 * n)


def test_discrimination_of_one_listener_is_fishers_test():
    # 8 of 10 real sounds and 7 of 10 generated ones: 15 of 20, which is 0.041 by tosses of a coin.
    said = np.r_[np.arange(10) < 8, np.arange(10) < 3][:, None]
    found = discrimination(said, balanced(20))
    assert (found.n, found.value, found.expected) == (20, 0.75, 0.5)
    assert found.p == pytest.approx(fisher_exact([[8, 2], [3, 7]]).pvalue)
    assert found.p == pytest.approx(0.0698, abs=5e-5)
    # Which is too little: 50 % lies inside.
    assert found.low < 0.5 < share(said == balanced(20)[:, None]).low
    assert discrimination(np.r_[np.arange(10) < 9, np.arange(10) < 1][:, None], balanced(20)).low == pytest.approx(
        least_share([[9, 1], [1, 9]])
    )
    # The other way round, the same.
    other = discrimination(~said, balanced(20))
    assert (other.value, other.p) == (0.25, pytest.approx(found.p))
    assert (other.low, other.high) == (pytest.approx(1 - found.high), pytest.approx(1 - found.low))
    # 12 of 15 answers "real" are right of 100 trials of both kinds: all right is 59 %, of which Wilson's interval says
    # [49, 68]. The odds ratio says more: hypergeometric probabilities, tilted to its end, have this mean.
    found = discrimination(np.r_[np.arange(50) < 12, np.arange(50) < 3][:, None], balanced(100))
    assert (found.value, found.p) == (0.59, pytest.approx(fisher_exact([[12, 38], [3, 47]]).pvalue))
    assert found.low == pytest.approx(least_share([[12, 38], [3, 47]]))
    assert found.low > 0.5


def test_discrimination_of_several_listeners_by_hand():
    # 2 of the 20 ways to choose three trials of six; of the 120 answers of twenty listeners there are no more.
    said = np.tile(balanced(6)[:, None], 20)
    assert discrimination(said, balanced(6)).p == pytest.approx(0.1)
    # Sums 2, 1, 0, 0 and two of them: 3 2 2 1 1 0, so that 3 has a sixth on its side.
    found = discrimination(np.array([[1, 1], [1, 0], [0, 0], [0, 0]], bool), balanced(4))
    assert (found.value, found.p) == (7 / 8, pytest.approx(1 / 3))
    # Always the same answer: right as often as it is asked for, and nothing is known.
    found = discrimination(np.ones((9, 3), bool), np.arange(9) < 5)
    assert (found.value, found.expected, found.p) == (pytest.approx(5 / 9), pytest.approx(5 / 9), 1.0)
    assert found.low < 0.5
    assert found.high > 0.6


def test_p_values_are_those_of_scipy(monkeypatch):
    rng = np.random.default_rng(3)
    for n_first, n_second, n_listeners in ((4, 4, 1), (5, 7, 3), (6, 4, 2), (3, 8, 4)):
        first, second = rng.integers(1, 6, (n_first, n_listeners)), rng.integers(2, 6, (n_second, n_listeners))
        expected = permutation_test(
            (first.mean(1), second.mean(1)), lambda one, other: one.mean() - other.mean(), n_resamples=math.inf
        ).pvalue
        assert difference(first, second) == pytest.approx(expected)
        with monkeypatch.context() as patched:
            patched.setattr("gan.evaluate.opinion._MOST_ADDITIONS", 0)
            drawn = difference(first, second)
            assert drawn == difference(first, second)
            assert drawn == pytest.approx(expected, abs=0.01)
    # Never nothing: the answers themselves are one draw.
    monkeypatch.setattr("gan.evaluate.opinion._MOST_ADDITIONS", 0)
    said = np.tile(balanced(60)[:, None], 3)
    assert difference(said[:30], said[30:]) == pytest.approx(2 / 200_001)
    found = discrimination(said, balanced(60))
    assert (found.low, found.high) == (share(np.ones((60, 3))).low, 1.0)


def test_many_trials_of_many_listeners_are_counted():
    said = np.random.default_rng(0).random((1000, 3)) < 0.5
    found = discrimination(said, balanced(1000))
    means = said[:500].mean(1), said[500:].mean(1)
    z = (means[0].mean() - means[1].mean()) / math.sqrt(said.mean(1).var(ddof=1) * 2 / 500)
    assert found.p == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.02)


Guesser = Callable[[list[_Question], np.random.Generator], np.ndarray]


def alone(each: Callable[[int, np.random.Generator], np.ndarray], n_listeners: int = 1) -> Guesser:
    """Listeners who answer by themselves, each in an order of his own as the page asks them."""
    return lambda questions, rng: np.stack(
        [each(len(questions), rng)[rng.permutation(len(questions))] for _ in range(n_listeners)], axis=1
    )


def of_one_mind(questions: list[_Question], rng: np.random.Generator) -> np.ndarray:
    return np.tile(rng.random((len(questions), 1)) < 0.5, 5)


def by_class(questions: list[_Question], rng: np.random.Generator) -> np.ndarray:
    """Listeners to whom one class sounds real, and who are mostly sure of it."""
    is_first = np.array([question.label == 0 for question in questions])
    return is_first[:, None] ^ (rng.random((len(questions), 4)) < 0.2)


def by_system(questions: list[_Question], rng: np.random.Generator) -> np.ndarray:
    """Listeners of ABX who choose whichever of A and B is of the better run, whatever X is; else of one mind."""
    if questions[0].kind != "abx":
        return of_one_mind(questions, rng)
    is_better = np.array([question.systems[0] == "first" for question in questions])
    return is_better[:, None] ^ (rng.random((len(questions), 3)) < 0.1)


GUESSERS: dict[str, Guesser] = {
    "a coin": alone(lambda n, rng: rng.random(n) < 0.5),
    "five coins": alone(lambda n, rng: rng.random(n) < 0.5, 5),
    "evens out": alone(lambda n, rng: rng.permutation(balanced(n))),
    "five who even out": alone(lambda n, rng: rng.permutation(balanced(n)), 5),
    "alternates": alone(lambda n, rng: (np.arange(n) + rng.integers(2)) % 2 == 0),
    "always the same": alone(lambda n, rng: np.ones(n, bool)),
    "mostly the same": alone(lambda n, rng: rng.random(n) < 0.85, 3),
    "of one mind": of_one_mind,
    "by class": by_class,
    "by system": by_system,
}


@pytest.mark.parametrize("guesser", GUESSERS.values(), ids=GUESSERS)
@pytest.mark.parametrize(("kind", "n_trials", "n_classes"), [("origin", 13, 3), ("abx", 12, 2)])
def test_guessers_are_found_out_no_more_often_than_said(guesser, kind, n_trials, n_classes):
    """Of pages as they are drawn, at most 5 % say that guessers can tell, but for the error of 300."""
    rng = np.random.default_rng(1)
    n_found = n_different = 0
    for _ in range(300):
        questions = _questions(["first", "second"], True, [kind], n_trials, n_classes, rng)
        said = guesser(questions, rng)
        true = np.array([each.right in {"real", "A"} for each in questions])
        # The p-value of `discrimination`, in a tenth of the time.
        n_found += difference(said[true], said[~true]) < 0.05
        of_first = np.array([each.systems[-1] == "first" for each in questions])
        n_different += difference(said[of_first], said[~of_first]) < 0.05
    most = 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)
    assert n_found <= most
    assert n_different <= most


@pytest.mark.parametrize("guesser", GUESSERS.values(), ids=GUESSERS)
def test_of_all_pages_with_the_same_answers_no_more_are_found_than_said(guesser):
    """Exact: all 252 ways that five of ten trials can be the real ones."""
    questions = [_Question("origin", ("first",), "real", n % 2) for n in range(10)]
    said = guesser(questions, np.random.default_rng(2))
    pages = [np.isin(np.arange(10), real) for real in combinations(range(10), 5)]
    values = np.array([difference(said[page], said[~page]) for page in pages])
    assert values[-1] == discrimination(said, pages[-1]).p
    assert len(values) == 252
    for limit in (0.01, 0.05, 0.1, 0.3):
        assert (values <= limit + 1e-9).mean() <= limit + 1e-9


def test_opinions_of_listeners_who_agree_differ_no_more_often_than_said():
    rng = np.random.default_rng(1)
    n_found = 0
    for _ in range(300):
        # Sounds that are good or bad to all, strict and mild listeners, and three systems that are alike.
        scores = rng.normal(3, 1, (21, 1)) + rng.normal(0, 0.7, (1, 6)) + rng.normal(0, 0.4, (21, 6))
        scores = scores.round().clip(1, 5).astype(int)
        n_found += difference(scores[:7], scores[7:14]) < 0.05
    assert n_found <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize(("n_trials", "n_listeners", "least"), [(40, 1, 0.9), (20, 3, 0.95), (12, 5, 0.95)])
def test_who_hears_it_is_found(n_trials, n_listeners, least):
    """Listeners who are right in 80 %; and the interval says how often they are."""
    rng = np.random.default_rng(1)
    n_found = n_inside = 0
    for _ in range(200):
        true = rng.permutation(balanced(n_trials))
        found = discrimination(true[:, None] ^ (rng.random((n_trials, n_listeners)) < 0.2), true)
        n_found += found.p < 0.05 and found.value > found.expected
        n_inside += found.low <= 0.8 <= found.high
        # What the interval says of guessing is what the p-value says.
        assert (found.p < 0.05) == (not found.low <= found.expected <= found.high)
    assert n_found >= least * 200
    assert n_inside >= 0.95 * 200 - 3 * math.sqrt(200 * 0.05 * 0.95)


def test_differences_and_opinions():
    low, high = np.array([[1.0], [2.0], [2.0]]), np.array([[4.0], [4.0], [5.0]])
    # 2 of the 20 ways to choose three sounds of six.
    assert difference(low, high) == pytest.approx(0.1)
    # What one listener does with all sounds is no difference between them; nor is another's asking alike.
    assert difference(np.hstack([low, low - 1]), np.hstack([high, high - 1])) == pytest.approx(0.1)
    assert difference(low, low) == 1
    found = opinion(np.array([[1.0, 1.0], [2.0, 2.0], [2.0, 4.0], [5.0, 3.0]]))
    # Sounds have 1, 2, 3 and 4; t of 3 degrees is 3.1824.
    assert (found.n, found.value) == (8, 2.5)
    assert found.high - 2.5 == pytest.approx(3.1824 * math.sqrt(5 / 3) / 2, abs=1e-4)
    # Below is 0.45, no opinion.
    found = opinion(np.array([[1.0], [1.0], [2.0], [1.0]]))
    assert (found.value, found.low) == (1.25, 1.0)
    assert found.high == pytest.approx(2.0456, abs=1e-4)


QUALITY = [Trial("quality", (n,), (name,)) for n, name in enumerate(["first"] * 4 + ["second"] * 4 + [REAL] * 4)]
ORIGIN = [
    Trial("origin", (n,), (name,), right)
    for n, (name, right) in enumerate([("first", "generated"), (REAL, "real")] * 10)
]
ABX = [Trial("abx", (n, n + 1, n + 2), ("first", "second", "first"), "A") for n in range(20)]
ABX += [Trial("abx", (n, n + 1, n + 2), ("first", "second", "second"), "B") for n in range(20)]
KEY = Key(
    "0123456789ab", {"first": "run first", "second": "run second", REAL: "crops"}, tuple(QUALITY + ORIGIN + ABX), (), {}
)
SCORES = [1, 1, 2, 1, 2, 1, 1, 1, 5, 4, 5, 5]


def answer(listener: str, n_right_abx: int, n_right_origin: int = 18) -> dict[str, Any]:
    given: list[Any] = list(SCORES)
    other = {"A": "B", "B": "A", "real": "generated", "generated": "real"}
    for trials, n_right in ((ORIGIN, n_right_origin), (ABX, n_right_abx)):
        given += [trial.right if n < n_right else other[trial.right] for n, trial in enumerate(trials)]
    entries = [{"trial": n, "answer": each, "plays": [1], "seconds": 2.5} for n, each in enumerate(given)]
    # As the page saves them: in the order they were asked in.
    return {"test": KEY.test, "listener": listener, "started": "2026-01-31", "answers": entries[::-1]}


def written(folder: Path, *answers: dict[str, Any]) -> list[Path]:
    KEY.save(folder / "key.json")
    paths = [folder / f"answers_{n}.json" for n in range(len(answers))]
    for path, each in zip(paths, answers, strict=True):
        path.write_text(json.dumps(each))
    return paths


def test_a_score(tmp_path, capsys):
    (path,) = written(tmp_path, answer("NK", 22))
    assert Key.load(tmp_path / "key.json") == KEY
    assert main(["blind", "--score", str(path)]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0] == "test 0123456789ab, answered by NK"
    # 22 of 40, but all 20 of A and 2 of B, who answered A 38 times: chance has 20 to 2 of both that way, p 0.487.
    p = fisher_exact([[20, 0], [18, 2]]).pvalue
    assert f"listeners could not tell first from second: 55 % of 40 answers right [40, 69], p = {p:.2f}" in lines
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines if "|" in line
    }
    assert rows["X is of first"] == ["100 %", "84 to 100", "20", "20"]
    assert rows["X is of second"] == ["10 %", "3 to 30", "20", "20"]
    # Fisher's exact test of 9 of 10 against 1 of 10, which is the same question as the next.
    assert "listeners told real from generated: 90 % of 20 answers right [65, 100], p = 0.0011" in lines
    assert f"{REAL} are taken for real more often than first: 90 % and 10 %, p = 0.0011" in lines
    # 1.25, 1.25 and 4.75; all sounds of one above all of the other: 2 of 70 ways.
    assert "no difference in quality was found between first and second: 0.00, p = 1.00" in lines
    assert f"{REAL} sound better than first, by 3.50, p = 0.029" in lines
    assert "| first           |         1.25 | 1.00 to 2.05 |       4 |      4 |" in lines


def test_several_listeners(tmp_path, capsys):
    paths = written(tmp_path, answer("NK", 40), answer("ab", 38), answer("ü", 40))
    (tmp_path / "elsewhere").mkdir()
    key = (tmp_path / "key.json").rename(tmp_path / "elsewhere" / "other.json")
    assert main(["blind", "--score", *map(str, paths), "--key", str(key)]) == 0
    said = capsys.readouterr().out
    assert "answered by NK, ab, ü" in said
    assert "listeners told first from second: 98 % of 120 answers right [88, 100], p < 0.001" in said
    listeners = [Answers.load(path, KEY) for path in paths]
    assert report(KEY, listeners) in said
    # As bad as possible is no guessing either.
    assert "heard first from second differ, but the wrong way round" not in said
    (bad,) = written(tmp_path, answer("NK", 5))
    assert "the wrong way round: 12 % of 40" in report(KEY, [Answers.load(bad, KEY)])


def test_bad_answers_are_skipped_by_name(tmp_path, capsys):
    good = answer("NK", 22)
    first = good["answers"][0]

    def with_first(**changes: Any) -> dict[str, Any]:
        return good | {"answers": [first | changes, *good["answers"][1:]]}

    bad = {
        "no answers of a listening test": {"some": "JSON"},
        "of test ffff, but the key is of 0123456789ab": good | {"test": "ffff"},
        "answers trial 72, but the test has trials 0 to 71": with_first(trial=72),
        "answers trial -1, but": with_first(trial=-1),
        "answers trial True, but": with_first(trial=True),
        "answers trial None, but": good | {"answers": ["no entry"]},
        "answers trial 70 twice": with_first(trial=70),
        "answer 'C' to trial 71; possible are A, B": with_first(answer="C"),
        "answer 6 to trial 0; possible are 1, 2, 3, 4, 5": good | {"answers": [{"trial": 0, "answer": 6}]},
        "answer True to trial 0;": good | {"answers": [{"trial": 0, "answer": True}]},
        "answer ['A'] to trial 71": with_first(answer=["A"]),
        "1 of 72 questions are not answered": with_first(answer=None),
        "72 of 72 questions are not answered": good | {"answers": 3},
        "of nk, as ": good | {"listener": " nk "},
        "listener is a list of 1, text was expected": good | {"listener": ["x"]},
        "of test a b, but the key is of": good | {"test": "a\nb"},
    }
    paths = written(tmp_path, good, *bad.values())
    for name, text in (("text.json", "Dear diary"), ("deep.json", "[" * 100000), ("binary.json", "\ud800")):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(text.encode("utf-8", "surrogatepass"))
    paths.append(tmp_path / "gone.json")
    assert main(["blind", "--score", *map(str, paths)]) == 1
    said = capsys.readouterr()
    *lines, last = said.err.splitlines()
    assert last == f"{len(paths) - 1} of {len(paths)} files were skipped"
    messages = [*bad, "no JSON", "no JSON", "cannot be read", "cannot be read"]
    for path, message, line in zip(paths[1:], messages, lines, strict=True):
        assert line.startswith(f"skipped {path}: ")
        assert message in line
    assert "answered by NK\n" in said.out
    # None that is left: nothing to say.
    assert main(["blind", "--score", str(paths[1]), "--key", str(tmp_path / "key.json")]) == 1
    assert capsys.readouterr().out == ""


def test_bad_keys(tmp_path, capsys):
    (path,) = written(tmp_path, answer("NK", 22))
    key = tmp_path / "key.json"
    whole = json.loads(key.read_text())
    for text, message in (
        (None, "key.json: cannot be read"),
        ("no", "key.json: no JSON"),
        (json.dumps(answer("NK", 22)), "key.json: no key of `gan blind`"),
        (json.dumps(whole | {"trials": [{"kind": "abx"}]}), "key.json: a damaged key (key.trials[0] has no sounds)"),
        (
            json.dumps({"format": whole["format"], "trials": [], "sounds": []}),
            "key.json: a damaged key (key has no test)",
        ),
        (json.dumps(whole | {"trials": [{"kind": "abx", "sounds": [1], "systems": ["a"]}]}), "is about 3 sounds of as"),
        (json.dumps(whole | {"systems": {"first": 3}}), "a damaged key (key.systems.first is 3, text was expected)"),
    ):
        key.unlink(missing_ok=True)
        if text is not None:
            key.write_text(text)
        assert main(["blind", "--score", str(path)]) == 2
        assert message in capsys.readouterr().err
