"""The last stable PPO of TRL as the other side of a comparison; runs in TRL 0.24's environment.

python -m peers.trl_ppo TASK.json RESULT.json
"""

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from datasets import Dataset
from peers.clock import Clock, read
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl import PPOConfig, PPOTrainer
from trl.trainer import ppo_trainer


class Stopwatch:
    """How long the calls of a function took, all together, since it was last asked."""

    def __init__(self, function: Callable[..., Any], only: Callable[..., bool] = lambda *_: True) -> None:
        self._function, self._only, self._seconds = function, only, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's own result."""
        start = perf_counter()
        result = self._function(*args, **kwargs)
        if self._only(*args):
            self._seconds += perf_counter() - start
        return result

    def read(self) -> float:
        """Seconds; it starts again from 0."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class Laps(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Stops the time at the end of each step."""

    def __init__(self, clock: Clock, rollout: Stopwatch, reward: Stopwatch, length: int) -> None:
        self._clock, self._rollout, self._reward, self._length = clock, rollout, reward, length

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """One batch of responses and its update are done. It always samples all tokens that are allowed."""
        self._clock.lap(rollout=self._rollout.read(), reward=self._reward.read(), length=self._length)


def main() -> None:
    """Train with a reward model of the policy's size, without which this trainer does not run."""
    task = read(sys.argv[1])
    clock, fast = Clock(), task["precision"] == "bf16"
    frozen = torch.bfloat16 if fast else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(task["model"], padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32)
    reference = AutoModelForCausalLM.from_pretrained(task["model"], dtype=frozen)
    critic = AutoModelForSequenceClassification.from_pretrained(task["model"], num_labels=1, dtype=torch.float32)
    judge = AutoModelForSequenceClassification.from_pretrained(task["model"], num_labels=1, dtype=frozen)
    rollout = Stopwatch(ppo_trainer.batch_generation)
    reward = Stopwatch(ppo_trainer.get_reward, only=lambda model, *_: model is judge)
    ppo_trainer.batch_generation, ppo_trainer.get_reward = rollout, reward
    batch = task["prompts_per_step"]
    options = PPOConfig(
        output_dir=task["scratch"],
        use_cpu=task["device"] == "cpu",
        bf16=fast,
        gradient_checkpointing=False,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=1,
        local_rollout_forward_batch_size=batch,
        num_mini_batches=1,
        num_ppo_epochs=1,
        total_episodes=batch * task["steps"],
        response_length=task["max_completion_length"],
        temperature=1.0,
        kl_coef=task["beta"],
        num_sample_generations=0,
        learning_rate=task["learning_rate"],
        lr_scheduler_type="constant",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    rows = Dataset.from_list([{"input_ids": ids} for ids in task["prompts"]])
    trainer = PPOTrainer(
        args=options,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=judge,
        value_model=critic,
        train_dataset=rows,
        eval_dataset=rows,
        callbacks=[Laps(clock, rollout, reward, task["max_completion_length"])],
    )
    trainer.train()
    clock.write(sys.argv[2])


if __name__ == "__main__":
    main()
