"""A generator in one file: the same sounds as the run's, without Lightning, and nothing that runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gan.commands.main import main
from gan.errors import InputError
from gan.exported import Exported
from gan.onnx import write_onnx
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.deep import DeepGriffinLim
from gan.trained import load_run

ALONE = """
import sys
from pathlib import Path

import torch
from gan.exported import Exported

exported = Exported.load(Path(sys.argv[1]))
torch.manual_seed(7)
waveforms = exported.waveforms(torch.randn(2, exported.generator.latent_dim), torch.tensor([1, 0]))
endless = Exported.load(Path(sys.argv[2]))
images = endless.images(torch.randn(2, endless.generator.latent_dim, generator=torch.Generator().manual_seed(0)))
torch.save((waveforms, images), sys.argv[3])
print([name for name in ("lightning", "tensorboard", "jsonargparse", "librosa") if name in sys.modules])
"""


@pytest.fixture
def file(conditional, tmp_path, capsys) -> Path:
    path = tmp_path / "generator.safetensors"
    assert main(["export", str(conditional.folder), str(path)]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f" MB, of run {conditional.folder.name}, checkpoint epoch_0001.ckpt, batch 4\n")
    return path


def test_it_sounds_as_the_run_does(conditional, endless, file, tmp_path):
    trained, exported = load_run(conditional), Exported.load(file)
    assert exported.settings == trained.settings
    assert exported.scale == trained.scale
    assert exported.class_names == ("bell", "low drum")
    torch.manual_seed(7)
    latents, labels = torch.randn(2, trained.gan.latent_dim), torch.tensor([1, 0])
    images = trained.gan.sample(latents, labels)
    torch.testing.assert_close(exported.images(latents, labels), images, rtol=0, atol=1e-6)
    expected = waveform_from_image(images, trained.scale, DeepGriffinLim(trained.settings))
    other = tmp_path / "endless.safetensors"
    assert main(["export", str(endless.newest_checkpoint()), str(other)]) == 0
    # In a program of its own, which loads nothing that only training needs, and has imported neither network before.
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", ALONE, file, other, tmp_path / "found.pt"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    waveforms, images = torch.load(tmp_path / "found.pt")
    torch.testing.assert_close(waveforms, expected, rtol=0, atol=1e-4)
    latents = torch.randn(2, load_run(endless).gan.latent_dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(images, load_run(endless).gan.sample(latents), rtol=0, atol=1e-5)


def test_endless(endless, tmp_path):
    path = tmp_path / "endless.safetensors"
    assert main(["export", str(endless.newest_checkpoint()), str(path)]) == 0
    exported = Exported.load(path)
    latents = torch.randn(1, exported.generator.latent_length(500))
    torch.testing.assert_close(exported.images(latents), load_run(endless).gan.sample(latents), rtol=0, atol=1e-6)
    assert exported.waveforms(latents).shape == (1, 499 * 32)


def rewritten(file: Path, **metadata: str) -> Path:
    with safe_open(file, "pt") as opened:
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        known = opened.metadata()
    other = file.with_name("other.safetensors")
    save_file(weights, other, known | metadata)
    return other


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "generator 2"}, "or one of another version"),
        ({"network": json.dumps({"class_path": "os.system", "init_args": {}})}, "os.system, which is not of this"),
        ({"network": json.dumps({"class_path": "gan.model.nothing.Network", "init_args": {}})}, "this version has not"),
        ({"network": json.dumps({"class_path": "gan.model.dcgan.base_grid", "init_args": {}})}, "which is no network"),
        ({"network": json.dumps({"class_path": "gan.model.dcgan.Generator", "init_args": {"x": 1}})}, "TypeError"),
        ({"settings": "{}"}, "spectrogram settings"),
        ({"scale": "nonsense"}, "cannot be read as a generator"),
    ],
)
def test_what_is_refused(file, metadata, message):
    with pytest.raises(InputError, match=message):
        Exported.load(rewritten(file, **metadata))


def test_damaged_files_are_refused(file, tmp_path):
    whole = file.read_bytes()
    for share in (0.0, 0.001, 0.5, 0.999):
        torn = tmp_path / "torn.safetensors"
        torn.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="cannot be read as a generator"):
            Exported.load(torn)
    with pytest.raises(InputError, match="cannot be read as a generator"):
        Exported.load(tmp_path / "none.safetensors")


def test_bad_options(conditional, file, capsys):
    before = file.stat().st_mtime_ns
    assert main(["export", str(conditional.folder), str(file)]) == 2
    assert "is there already; give --overwrite" in capsys.readouterr().err
    assert main(["export", str(conditional.folder), str(file.with_suffix(".ckpt"))]) == 2
    assert "name it generator.safetensors or generator.onnx" in capsys.readouterr().err
    assert main(["export", str(conditional.folder), str(file / "deep.onnx")]) == 2
    assert f"{file}: cannot be written, {file} is a file; name a folder" in capsys.readouterr().err
    folder = file.with_name("folder.onnx")
    folder.mkdir()
    assert main(["export", str(conditional.folder), str(folder), "--overwrite"]) == 2
    assert f"{folder} is a folder, which no file can replace" in capsys.readouterr().err
    assert file.stat().st_mtime_ns == before
    assert main(["export", str(conditional.folder), str(file), "--overwrite"]) == 0
    assert file.stat().st_mtime_ns != before


@pytest.mark.parametrize("kind", ["endless", "conditional"])
def test_onnx(kind, request, tmp_path, capfd):
    run = request.getfixturevalue(kind)
    path = tmp_path / "generator.onnx"
    assert main(["export", str(run.folder), str(path)]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[-1].startswith(f"{path}: 0.")
    assert "WARNING" not in err
    session = onnxruntime.InferenceSession(path)
    trained = load_run(run)
    latents = torch.randn(5, trained.gan.latent_dim)
    labels = torch.tensor([0, 1, 1, 0, 1]) if kind == "conditional" else None
    given = {"latents": latents.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
    (images,) = session.run(["images"], given)
    torch.testing.assert_close(torch.from_numpy(images), trained.gan.sample(latents, labels), rtol=0, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["settings"])["sample_rate"] == 8000
    assert json.loads(metadata["class_names"]) == list(trained.class_names)


def test_onnx_that_differs_is_not_written(file, tmp_path, monkeypatch):
    exported = Exported.load(file)
    monkeypatch.setattr(Exported, "images", lambda self, *given: 1e-3 + self.generator(*given))
    with pytest.raises(InputError, match=r"onnxruntime's images differ from torch's by 0\.001; it is not written"):
        write_onnx(exported, tmp_path / "other.onnx")
    assert not list(tmp_path.glob("*other*"))


@pytest.mark.parametrize(
    "metadata",
    [
        {"network": "[" * 100_000},
        {"network": "[]"},
        {"network": json.dumps({"class_path": "gan.model.dcgan.Generator", "init_args": []})},
        {"network": json.dumps({"class_path": "gan.model.dcgan.Generator", "init_args": {"image_size": [1 << 62, 8]}})},
        {"network": json.dumps({"class_path": "gan.model.dcgan.Generator", "init_args": {"image_size": [64, 0]}})},
        {"scale": '{"top_db": NaN}'},
        {"scale": '{"top_db": 0, "range_db": "80"}'},
        {"class_names": "3"},
        {"class_names": "[1, 2]"},
        {"settings": "[1]"},
    ],
)
def test_odd_metadata_is_refused_in_a_line(file, metadata):
    other = rewritten(file, **metadata)
    with pytest.raises(InputError) as caught:
        Exported.load(other)
    assert str(caught.value).startswith(str(other))
    assert str(caught.value).isprintable()
