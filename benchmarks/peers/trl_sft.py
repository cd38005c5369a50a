"""TRL's side of the comparison of supervised fine-tuning; runs in TRL's environment.

python -m peers.trl_sft TASK.json RESULT.json
"""

import sys
from typing import Any

import torch
from datasets import Dataset
from peers.clock import Clock, read
from peers.trl_options import common
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Laps(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Stops the time at the end of each step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """One update is done."""
        self._clock.lap()


def main() -> None:
    """Train on rows that are token ids already, in the order in which they come."""
    task = read(sys.argv[1])
    clock = Clock()
    options = SFTConfig(
        **common(task),
        per_device_train_batch_size=task["batch_size"],
        max_length=None,
        train_sampling_strategy="sequential",
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32),
        args=options,
        train_dataset=Dataset.from_list(task["rows"]),
        processing_class=AutoTokenizer.from_pretrained(task["model"]),
        callbacks=[Laps(clock)],
    )
    trainer.train()
    clock.write(sys.argv[2])


if __name__ == "__main__":
    main()
