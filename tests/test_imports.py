"""Imports run one way: the sound column knows nothing of learning, the model column nothing of sound."""

import ast
from pathlib import Path

import pytest

GAN = Path(__file__).parent.parent / "gan"
BASE = {
    "errors",
    "files",
    "seed",
    "progress",
    "stopping",
    "plain",
    "nulls",
    "refusing",
    "backend",
    "tensors",
    "outputs",
    "walk",
}
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "outputs": {"errors", "files"},
    "seed": set(),
    "progress": set(),
    "stopping": set(),
    "pace": set(),
    "plain": {"errors"},
    "nulls": {"errors"},
    "refusing": set(),
    "senseless": {"errors"},
    "backend": {"errors"},
    "tensors": {"errors", "files"},
    "walk": {"errors"},
    "sound": BASE | {"sound"},
    "model": BASE | {"model"},
    "data": BASE | {"data", "sound"},
    "evaluate": BASE | {"evaluate", "data", "sound", "model"},
    "listen": BASE | {"listen", "evaluate", "data", "sound", "model", "run", "saved", "trained", "pace"},
    "run": {"errors", "plain"},
    "saved": BASE | {"sound"},
    "trained": BASE | {"run", "saved", "data", "sound", "model"},
    "exported": BASE | {"sound", "model"},
    "onnx": {"errors", "files", "exported"},
    "allocation": set(),
    "info": BASE | {"info", "data", "sound", "run", "saved"},
    "checkpoints": BASE | {"run", "saved"},
    "resuming": BASE | {"run", "saved"},
    "training": BASE | {"allocation", "run", "trained", "checkpoints", "pace", "resuming", "senseless"},
    "phase_training": BASE | {"phase_training", "sound"},
    "commands": BASE
    | {
        "commands",
        "listen",
        "evaluate",
        "data",
        "sound",
        "model",
        "run",
        "trained",
        "training",
        "phase_training",
        "exported",
        "onnx",
        "info",
    },
    "estimate": BASE | {"run", "training", "info"},
    "__main__": {"commands"},
    "__init__": set(),
}


def imported(path: Path) -> set[str]:
    """Names directly below `gan` that a file imports, late imports included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [node.module] if node.module != "gan" else [f"gan.{alias.name}" for alias in node.names]
        names |= {module.split(".")[1] for module in modules if module.startswith("gan.")}
    return names


@pytest.mark.parametrize("path", sorted(GAN.rglob("*.py")), ids=lambda path: str(path.relative_to(GAN)))
def test_imports_run_one_way(path):
    part = path.relative_to(GAN).parts[0].removesuffix(".py")
    assert imported(path) <= ALLOWED[part]
