"""What is refused as a checkpoint, before anything of it is run or unpacked."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import SMALL_RUN

import train
from gan.errors import InputError
from gan.run import Run, checkpoints_of, newest_run
from gan.saved import load_checkpoint
from gan.trained import load_run, open_data, untrained


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_image):
    folder = tmp_path_factory.mktemp("run")
    for index in range(12):
        write_image(folder / "images" / f"{index:02d}.png", n_frames=64, seed=index)
    options = [*SMALL_RUN, f"--data.images={folder / 'images'}", f"--trainer.default_root_dir={folder / 'runs'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
        assert train.run_training(train.GANCLI, [*options, "--listen.n_samples=1", "--trainer.max_epochs=1"]) == 0
    return newest_run(folder / "runs")


@pytest.fixture
def copy(run, tmp_path):
    """The run's config in a folder of its own, and what its checkpoint holds."""
    made = Run(tmp_path / "run")
    (made.folder / "checkpoints").mkdir(parents=True)
    made.config.write_bytes(run.config.read_bytes())
    return made, torch.load(run.newest_checkpoint(), weights_only=True)


def place(run: Run) -> Path:
    return run.folder / "checkpoints" / "epoch_0000.ckpt"


def test_the_ten_thousandth_epoch_is_newer_than_the_one_before(tmp_path):
    run = Run(tmp_path / "run")
    run.checkpoint_folder.mkdir(parents=True)
    run.config.touch()
    names = [f"epoch_{epoch}.ckpt" for epoch in ("10000", "9999", "9998")]
    for name in (*names, "in_epoch_10001_batch_00200010.ckpt", "best.ckpt"):
        (run.checkpoint_folder / name).touch()
    assert [path.name for path in run.whole_epochs()] == names
    assert run.newest_checkpoint().name == "epoch_10000.ckpt"


class Payload:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refuse(run: Run, match: str) -> None:
    for load in (
        lambda: load_run(run),
        lambda: untrained(run, place(run)),
        lambda: open_data(run, place(run)),
    ):
        with pytest.raises(InputError, match=match) as caught:
            load()
        assert str(place(run)) in str(caught.value)


def test_code_is_not_run(copy, tmp_path):
    run, state = copy
    bait = tmp_path / "ran"
    torch.save(state | {"more": Payload(bait)}, place(run))
    refuse(run, "cannot be read as a checkpoint")
    place(run).write_bytes(pickle.dumps(Payload(bait)))
    refuse(run, "cannot be read as a checkpoint")
    assert not bait.exists()
    torch.load(make(tmp_path / "bait.pt", bait), weights_only=False)
    assert bait.exists()  # it would have


def make(path: Path, bait: Path) -> Path:
    torch.save(Payload(bait), path)
    return path


def test_a_bomb_is_not_unpacked(copy, monkeypatch):
    run, state = copy
    torch.save(state, place(run))
    with zipfile.ZipFile(place(run)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(place(run), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    refuse(run, "is compressed, which torch.save does not do")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated(copy, share):
    run, state = copy
    torch.save(state, place(run))
    whole = place(run).read_bytes()
    place(run).write_bytes(whole[: int(share * len(whole))])
    refuse(run, "cannot be read as a checkpoint")


def test_of_something_else(copy):
    run, state = copy
    for other in (torch.zeros(3), {"state_dict": {}}, {**state, "ImageData": None} | {"batches_seen": 1}):
        if isinstance(other, dict) and "ImageData" in other:
            del other["ImageData"]
        torch.save(other, place(run))
        refuse(run, "a checkpoint, but of no GAN of this program")
    del state["ImageData"]["scale"]
    torch.save(state, place(run))
    refuse(run, "does not say the scale of its images; it is of another version")


def test_of_other_networks(copy):
    run, state = copy
    state["state_dict"] = {name.replace("generator", "painter"): value for name, value in state["state_dict"].items()}
    torch.save(state, place(run))
    with pytest.raises(InputError, match=r"is of other networks than model\.generator and model\.discriminator"):
        load_run(run)


def test_what_a_path_means(run, tmp_path):
    newest = run.newest_checkpoint()
    assert checkpoints_of(run.folder) == (run, {"newest": newest})
    assert checkpoints_of(newest) == (run, {"epoch_0000": newest})
    for path in ("https://example.org/model.ckpt", tmp_path / "model.ckpt"):
        with pytest.raises(InputError, match=r"model\.ckpt: no such checkpoint"):
            checkpoints_of(Path(path))
    (tmp_path / "alone.ckpt").write_bytes(newest.read_bytes())
    with pytest.raises(InputError, match=r"not in a run's folder, whose config\.yaml says"):
        checkpoints_of(tmp_path / "alone.ckpt")
    with pytest.raises(InputError, match="device is abacus, which cannot be used"):
        load_run(run, device="abacus")
    assert load_checkpoint(newest)["batches_seen"] == load_run(run).batches_seen == 2


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("scale", {"top_db": 0.0, "range_db": float("nan")}, "ImageData.scale.range_db is nan, a number was expected"),
        ("scale", {"top_db": 0.0, "mean_db": [1.0]}, "mean_db and deviation_db go together"),
        ("settings", [], "ImageData.settings is a list of 0, a mapping was expected"),
        ("image_size", [64], r"ImageData.image_size is a list of 1, one of 2 was expected"),
        ("class_names", [3], "ImageData.class_names is 3, text was expected"),
    ],
)
def test_what_a_checkpoint_says_of_its_images(copy, name, wrong, words):
    run, state = copy
    state["ImageData"][name] = wrong
    torch.save(state, place(run))
    refuse(run, words)


def test_what_is_no_state(copy):
    run, state = copy
    for name, wrong, words in (
        ("ImageData", 3, "ImageData is 3, a mapping was expected"),
        ("state_dict", [], "state_dict is a list of 0"),
        ("state_dict", {"a": 1}, "a in it is no tensor"),
        ("batches_seen", None, "batches_seen is None, a whole number"),
    ):
        torch.save(state | {name: wrong}, place(run))
        refuse(run, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "cannot be read as a run's configuration"),
        ("\xff", "cannot be read as a run's configuration"),
        ("a: [", "cannot be read as a run's configuration"),
        ("3", "no configuration of a run"),
        ("data: {}\nmodel: {}\ntrainer: {}\nseed_everything: [1]", "seed_everything is a list of 1, a whole number"),
        ("data: {}\nmodel: {}\ntrainer: {}\nseed_everything: 1", "config.yaml: cannot be used"),
    ],
)
def test_other_configurations(copy, text, words, capfd):
    run, state = copy
    torch.save(state, place(run))
    run.config.write_text(text, encoding="latin-1")
    for load in (lambda: load_run(run), lambda: untrained(run, place(run))):
        with pytest.raises(InputError, match=words) as caught:
            load()
        assert str(run.config) in str(caught.value)
        assert str(caught.value).isprintable()
    # No page of usage of a command line that nobody has typed.
    assert capfd.readouterr().err == ""
