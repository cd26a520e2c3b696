"""Safetensors files that say what they are, and networks whose weights come from one."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gan.errors import InputError
from gan.files import atomic_write

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Format:
    """A kind of safetensors file.

    Attributes:
        name: What its metadata say under "format".
        kind: What is in it, for messages, as in "cannot be read as a generator".
        expected: The same and where it comes from, as in "holds no latent of `gan invert`".
    """

    name: str
    kind: str
    expected: str

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Write tensors, and text beside them, atomically."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_write(path) as part:
            part.write_bytes(save(plain, {"format": self.name, **metadata}))

    def found_in(self, path: Path) -> bool:
        """Whether a file is of this kind; False if it cannot be read."""
        try:
            with safe_open(path, "pt") as file:
                return (file.metadata() or {}).get("format") == self.name
        except Exception:  # as below
            return False

    @contextmanager
    def read(self, path: Path) -> Iterator[tuple[dict[str, str], dict[str, Tensor]]]:
        """Read what `write` wrote; whatever goes wrong while something is made of it is the file's fault.

        Yields:
            The metadata, and the tensors by their names.

        Raises:
            InputError: If the file is missing, damaged, or something else.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != self.name:
                    raise InputError(f"{path}: holds no {self.expected}")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            yield metadata, tensors
        except InputError as error:
            raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from error
        except Exception as error:  # What a file says leads whoever believes it into anything.
            raise InputError(f"{path}: cannot be read as {self.kind} ({type(error).__name__}: {error})") from error


def with_weights(make: Callable[[], Network], weights: Mapping[str, Tensor]) -> Network:
    """A network with weights of a file, in eval mode and without gradients.

    Args:
        make: Makes it as the file says; called twice.
        weights: Its state.

    Raises:
        RuntimeError: If they are another network's.
    """
    # First without memory, of which a few wrong numbers could ask for any amount; whatever they are worth.
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        make().load_state_dict(weights, assign=True)
    network = make()
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
