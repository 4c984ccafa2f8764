"""How classifiers are trained, as data: optimizer, minibatches and penalty, for the paper's networks and for a demo."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """How a model is trained: Adam on mean cross entropy + l2 * sum over `decayed` of ||w||^2 / 2.

    Attributes:
        steps: number of minibatches.
        batch_size: images in a minibatch.
        learning_rate: Adam's; the largest one where the schedule varies it.
        schedule: "constant", or "cosine" down to zero over `steps`.
        l2: weight of the penalty.
        decayed: the parameter leaves that are penalized, as the ends of their paths: "conv1/kernel".

    Raises:
        ValueError: a field is out of its range, or l2 and decayed do not go together.
    """

    steps: int
    batch_size: int = 50
    learning_rate: float = 1e-4
    schedule: str = "constant"
    l2: float = 0.0
    decayed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f'schedule must be "constant" or "cosine", got {self.schedule!r}')
        if not 0 <= self.l2 < math.inf:
            raise ValueError(f"l2 must not be negative and be finite, got {self.l2}")
        if bool(self.l2) != bool(self.decayed):
            raise ValueError(f"l2 and decayed go together, got l2={self.l2} and decayed={self.decayed}")


_CNN_KERNELS = ("conv1/kernel", "conv2/kernel", "dense/kernel")

PRESETS: dict[str, Training] = {
    "paper_cnn": Training(steps=20_000, l2=1e-3, decayed=_CNN_KERNELS),
    "paper_mlp": Training(steps=20_000),
    "demo_cnn": Training(steps=400, learning_rate=1e-3, schedule="cosine", l2=1e-3, decayed=_CNN_KERNELS),
    "demo_mlp": Training(steps=200, learning_rate=5e-4, schedule="cosine"),
    "memorize_cnn": Training(steps=3_500, batch_size=100, learning_rate=1e-3, schedule="cosine"),
    "memorize_mlp": Training(steps=1_500, batch_size=100, learning_rate=1e-3, schedule="cosine"),
    "memorize_all_cnn": Training(steps=48_000, batch_size=100, learning_rate=3e-4, schedule="cosine"),
    "memorize_all_mlp": Training(steps=15_000, batch_size=200, learning_rate=1e-3, schedule="cosine"),
}
"""Name -> training. "paper": the text's 20,000 steps with the released code's rate, minibatch and penalty, for the
whole of MNIST. "demo": few steps for the 5,000 embedded images, test accuracy above 0.96 (CNN) and 0.93 (MLP).
"memorize": permuted labels of the 5,000 by heart; "memorize_all": 80 (CNN) and 50 (MLP) epochs for those of all
60,000, of which the CNN learns nothing at the rate of 1e-3: most of its second convolution dies."""
