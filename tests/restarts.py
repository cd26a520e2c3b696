"""Trainings that are struck by signals, each in a process of its own that is forked from one that has imported all.

`python tests/restarts.py` reads requests from its standard input, see `Trainings`.
"""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sheets import PlainSheet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan.run import Run

ROOT = Path(__file__).parent.parent
# What says how long something took.
_CLOCKS = ("Pace",)
_OF_EVERY_START = ("run/text_summary", "custom_scalars__config__")


class Trainings:
    """Runs `train.py` in forked processes, one after the other.

    Args:
        folder: Their working folder.
    """

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said.txt"
        self.said.touch()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JSONARGPARSE_DEPRECATION_WARNINGS": "off"}
        command = [sys.executable, __file__]
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder, env=environment)

    def start(self, *arguments: str, **request: Any) -> int:
        """Start one; returns its process' number, which is its group's too.

        Args:
            arguments: Of train.py.
            request: `strike`, where a signal comes, see `_STRIKES`; `number`, which signal; `group`, whether it goes to
                those that prepare batches too; `sleep`, seconds that follow in the same place; `kill_after`, seconds
                until SIGKILL follows; `without`, what is taken out of the program, see `_WITHOUT`; `file_size`, the
                most bytes of a file.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps({"arguments": arguments, **request}), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())

    def wait(self) -> int:
        """Its exit code, or the negative number of the signal that ended it."""
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())

    def run(self, *arguments: str, **request: Any) -> int:
        """Start one and wait."""
        self.start(*arguments, **request)
        return self.wait()

    def close(self) -> None:
        """No more of them."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def contents(run: Run) -> dict[str, str]:
    """Digests of what a run ended with: its checkpoint part by part, its best one's weights, curves and sounds."""
    state = torch.load(run.newest_checkpoint(), weights_only=True)
    state["callbacks"] = {name: value for name, value in state["callbacks"].items() if name not in _CLOCKS}
    # The x axis of Lightning's own logging, which nothing is logged on.
    del state["loops"]["fit_loop"]["epoch_loop.state_dict"]
    found = {f"checkpoint {name}": _digest(value) for name, value in state.items()}
    if run.best_checkpoint.exists():
        best = torch.load(run.best_checkpoint, weights_only=True)
        found["best"] = _digest([best["state_dict"], best["batches_seen"]])
    events = EventAccumulator(str(run.folder), size_guidance={"scalars": 0, "audio": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    for tag in tags["scalars"]:
        curve = [(event.step, None if tag == "time/epoch" else event.value) for event in events.Scalars(tag)]
        found[tag] = repr(curve)
    for tag in tags["audio"]:
        found[tag] = _digest([(event.step, event.encoded_audio_string) for event in events.Audio(tag)])
    for tag in tags["images"]:
        found[tag] = _digest([(event.step, event.encoded_image_string) for event in events.Images(tag)])
    for tag in set(tags["tensors"]) - set(_OF_EVERY_START):
        # Unlike TensorBoard itself, its accumulator keeps texts that were written again.
        found[tag] = _digest({event.step: list(event.tensor_proto.string_val) for event in events.Tensors(tag)})
    for path in sorted((run.folder / "listen").rglob("*")):
        found[str(path.relative_to(run.folder))] = _digest(path.read_bytes() if path.is_file() else None)
    return found


def differing(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Names of the digests that are not the same."""
    return [name for name in sorted(found.keys() | expected.keys()) if found.get(name) != expected.get(name)]


def _digest(value: Any) -> str:
    found = hashlib.sha256()

    def add(value: Any) -> None:
        found.update(type(value).__name__.encode())
        if isinstance(value, torch.Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for name in value:
                add(name)
                add(value[name])
        elif isinstance(value, list | tuple):
            for each in value:
                add(each)
        else:
            found.update(repr(value).encode())

    add(value)
    return found.hexdigest()[:16]


def _before(owner: Any, name: str, act: Callable[..., None]) -> None:
    """Have something done before a method."""
    method = getattr(owner, name)

    def acting(self: Any, *arguments: Any, **options: Any) -> Any:
        act(self)
        return method(self, *arguments, **options)

    setattr(owner, name, acting)


def _strike_in_step(blow: Callable[[], None], batch: int) -> None:
    """After the discriminator's step of a batch, from 1, before the generator's."""
    from gan.model.gan import GAN

    step = GAN._discriminator_step

    def stepping(self: GAN, *arguments: Any) -> None:
        step(self, *arguments)
        if self.batches_seen + 1 == batch:
            blow()

    GAN._discriminator_step = stepping  # type: ignore[method-assign]


def _strike_in_validation(blow: Callable[[], None], batch: int) -> None:
    from gan.model.gan import GAN

    _before(GAN, "validation_step", lambda gan: blow() if gan.batches_seen == batch else None)


def _strike_in_listening(blow: Callable[[], None], batch: int) -> None:
    """When the first sound is heard and the second not yet."""
    from gan.listen.callbacks import Listen

    log = Listen._log

    def logging(self: Listen, trainer: Any, gan: Any, name: str, *others: Any) -> None:
        if gan.batches_seen == batch and name.startswith("sample_1") and not name.endswith("neighbour"):
            blow()
        log(self, trainer, gan, name, *others)

    Listen._log = logging  # type: ignore[method-assign]


def _strike_in_saving(blow: Callable[[], None], batch: int) -> None:
    """When half of a checkpoint is written."""
    import io

    import gan.checkpoints

    save = torch.save

    def saving(checkpoint: dict[str, Any], file: Any) -> None:
        if checkpoint["batches_seen"] == batch:
            whole = io.BytesIO()
            save(checkpoint, whole)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            blow()
            file.seek(0)
            file.truncate()
        save(checkpoint, file)

    gan.checkpoints.torch.save = saving


def _strike_in_pruning(blow: Callable[[], None], batch: int) -> None:
    """When a checkpoint is written, and older ones are not yet deleted."""
    import gan.checkpoints

    prune, count = gan.checkpoints._prune, iter(range(1, batch + 1))

    def pruning(run: Run, n_kept: int) -> None:
        if next(count, None) == batch:
            blow()
        prune(run, n_kept)

    gan.checkpoints._prune = pruning


_STRIKES = {
    "step": _strike_in_step,
    "validation": _strike_in_validation,
    "listening": _strike_in_listening,
    "saving": _strike_in_saving,
    "pruning": _strike_in_pruning,
}


def _without_position() -> None:
    """An epoch that is gone on with begins with its first crops."""
    from gan.data.crops import CropSampler

    init = CropSampler.__init__

    def started(self: CropSampler, *arguments: Any, **options: Any) -> None:
        seen = options["batches_seen"]
        init(self, *arguments, **options | {"batches_seen": lambda: seen() // len(self) * len(self)})

    CropSampler.__init__ = started  # type: ignore[method-assign]


def _without_seeds() -> None:
    """Random numbers of a batch are whatever comes."""
    from gan.model.gan import GAN

    GAN._seed_step = lambda self, rank: None  # type: ignore[method-assign]


def _without_losses() -> None:
    """The watchdog forgets the losses of the epoch under way."""
    from gan.listen.watchdog import Watchdog

    Watchdog.load_state_dict = lambda self, state: None  # type: ignore[method-assign]


def _without_settled_counters() -> None:
    """Lightning's counters are saved as they are."""
    import gan.checkpoints

    gan.checkpoints._settle = lambda fit_loop: None


_WITHOUT = {
    "position": _without_position,
    "seeds": _without_seeds,
    "losses": _without_losses,
    "settled counters": _without_settled_counters,
}


def _train(request: dict[str, Any]) -> int:
    import gan.evaluate.classifier
    import train
    from gan.training import run_training

    gan.evaluate.classifier._N_STEPS = 10

    def blow() -> None:
        if "kill_after" in request and os.fork() == 0:
            parent = os.getppid()
            time.sleep(request["kill_after"])
            os.kill(parent, signal.SIGKILL)
            os._exit(0)
        number = signal.Signals[request["number"]]
        os.killpg(0, number) if request.get("group") else os.kill(os.getpid(), number)
        time.sleep(request.get("sleep", 0))

    if "file_size" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], resource.RLIM_INFINITY))
    for strike, batch in request.get("strike", {}).items():
        _STRIKES[strike](blow, batch)
    for name in request.get("without", ()):
        _WITHOUT[name]()
    return run_training(train.GANCLI, request["arguments"])


def _warm_up() -> None:
    """Do once what each training would do anew for itself: import, load what numba has compiled."""
    import librosa.filters
    import torch.utils.tensorboard

    import gan.listen.callbacks
    import train  # noqa: F401
    from gan.sound.inversion import image_from_waveform, waveform_from_image
    from gan.sound.phase.deep import DeepGriffinLim
    from gan.sound.phase.pghi import PGHIGriffinLim
    from gan.sound.settings import SpectrogramSettings
    from gan.sound.spectrogram import ImageScale

    settings, scale = SpectrogramSettings(8000, 128, 32, 128), ImageScale(0.0)
    librosa.filters.mel(sr=8000, n_fft=128, n_mels=40)
    for method in (DeepGriffinLim, PGHIGriffinLim):
        image_from_waveform(waveform_from_image(torch.zeros(2, 1, 64, 64), scale, method(settings)), settings, scale)
    gan.listen.callbacks.Sheet = PlainSheet  # type: ignore[misc, assignment]


def _serve() -> None:
    torch.set_num_threads(1)
    _warm_up()
    last = 0
    for line in sys.stdin:
        # TensorBoard orders a run's files by the second they were begun in.
        while int(time.time()) <= last:
            time.sleep(0.02)
        last = int(time.time())
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(said, 1)
            os.dup2(said, 2)
            code = 70
            try:
                code = _train(json.loads(line))
            except SystemExit as stop:
                code = int(stop.code or 0)
            except BaseException:
                import traceback

                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
