"""TRL's side of the comparison of GRPO; runs in TRL's environment.

python -m peers.trl_grpo TASK.json RESULT.json
"""

import re
import sys
from time import perf_counter
from typing import Any

from datasets import Dataset
from peers.clock import Clock, read
from peers.trl_options import common
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Timed(GRPOTrainer):  # type: ignore[misc]
    """Notes how long the responses took, and how long they are."""

    rollout = length = 0.0

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        answered = super()._generate_single_turn(*args, **kwargs)
        self.rollout = perf_counter() - start
        self.length = sum(map(len, answered[0])) / len(answered[0])
        return answered


class Laps(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Stops the time at the end of each step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.trainer: Timed | None = None

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """One update is done."""
        assert self.trainer
        self._clock.lap(rollout=self.trainer.rollout, length=self.trainer.length)


def main() -> None:
    """Train on prompts in the order in which they come."""
    task = read(sys.argv[1])
    pattern = re.compile(task["pattern"], re.DOTALL)
    clock = Clock()
    options = GRPOConfig(
        **common(task),
        per_device_train_batch_size=task["prompts_per_step"] * task["num_generations"],
        num_generations=task["num_generations"],
        max_completion_length=task["max_completion_length"],
        beta=task["beta"],
        use_bias_correction_kl=False,
        loss_type="grpo",
        shuffle_dataset=False,
    )

    def reward(completions: list[str], **_: Any) -> list[float]:
        return [float(bool(pattern.search(text))) for text in completions]

    laps = Laps(clock)
    trainer = Timed(
        model=task["model"],
        reward_funcs=reward,
        args=options,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in task["prompts"]]),
        processing_class=AutoTokenizer.from_pretrained(task["model"], padding_side="left"),
        callbacks=[laps],
    )
    laps.trainer = trainer
    trainer.train()
    clock.write(sys.argv[2])


if __name__ == "__main__":
    main()
