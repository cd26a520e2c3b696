"""What listening costs: its share of an epoch.

python benchmarks/listening.py [OPTIONS OF train.py]     e.g. --trainer.max_epochs 4
"""

import statistics
import sys
import time
from pathlib import Path

from lightning import LightningModule, Trainer

sys.path.insert(0, str(Path(__file__).parent.parent))

import train
from gan.listen.callbacks import Listen

epochs: list[float] = []
listening: list[float] = []


class TimedListen(Listen):
    """Notes down how long an epoch took and how much of it was listening."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, and read the clock before and after."""
        before = time.perf_counter()
        super().on_train_epoch_end(trainer, pl_module)
        after = time.perf_counter()
        epochs.append(after - self.start)
        listening.append(after - before)


train.Listen = TimedListen  # type: ignore[misc]
exit_code = train.main()
if listening:
    share = statistics.median(part / whole for part, whole in zip(listening, epochs, strict=True))
    print(f"median of {len(epochs)} epochs: {statistics.median(epochs):.1f} s an epoch, ", end="")
    print(f"{statistics.median(listening):.2f} s of it listening, {100 * share:.1f} %")
sys.exit(exit_code)
