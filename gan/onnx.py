"""A generator as an ONNX file, for programs that know no torch."""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import torch

from gan.errors import InputError
from gan.exported import Exported
from gan.files import atomic_write

# Largest difference to torch's images, of 2 from silence to the loudest.
_TOLERANCE = 1e-4


def write_onnx(exported: Exported, path: Path) -> None:
    """Write a generator as an ONNX file and compare what onnxruntime makes of it.

    Inputs are `latents`, float32 (batch, latent_dim), and with classes `labels`, int64 (batch,); the output is
    `images`, float32 (batch, 1, n_freqs, n_frames), in [-1, 1]. The metadata are those of `Exported.metadata`.

    Args:
        exported: The generator.
        path: The file to write, atomically.

    Raises:
        InputError: If what is needed for it is not installed, the network cannot be written, or other images come out.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path}: writing it needs {error.name}; pip install 'spectrogram-gan[onnx]'") from error
    names = ["latents", "labels"] if exported.class_names else ["latents"]
    batch = torch.export.Dim("batch")
    with _quiet():
        try:
            program = torch.onnx.export(
                exported.generator,
                _inputs(exported, 2),
                input_names=names,
                output_names=["images"],
                dynamo=True,
                dynamic_shapes=tuple({0: batch} for _ in names),
                verbose=False,
            )
        except Exception as error:  # torch's own, of many kinds
            raise InputError(f"{path}: the network cannot be written as ONNX ({str(error).splitlines()[0]})") from error
    assert program is not None
    program.model.metadata_props.update(exported.metadata())
    given = _inputs(exported, 3)
    with atomic_write(path) as part:
        program.save(str(part))
        session = onnxruntime.InferenceSession(part.read_bytes())
        (images,) = session.run(None, {name: value.numpy() for name, value in zip(names, given, strict=True)})
        difference = float(np.abs(images - exported.images(*given).numpy()).max())
        if not difference < _TOLERANCE:
            raise InputError(f"{path}: onnxruntime's images differ from torch's by {difference:.1g}; it is not written")


def _inputs(exported: Exported, n: int) -> tuple[torch.Tensor, ...]:
    source = torch.Generator().manual_seed(n)
    latents = torch.randn(n, cast(int, exported.generator.latent_dim), generator=source)
    return (latents, torch.arange(n) % len(exported.class_names)) if exported.class_names else (latents,)


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """Without torch's reports on its own progress and deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
