"""Jobs of seconds, of every kind that keeps different things between two steps."""

from typing import Any

DATA = {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3}
POLICY = {"prompts_per_step": 2, "num_generations": 2, "max_completion_length": 8}
COMMON: dict[str, Any] = {
    "model": "tiny",
    "dataset": DATA,
    "eval_dataset": DATA | {"size": 4, "seed": 9},
    "rewards": [{"type": "exact"}, {"type": "format", "weight": 0.2}],
    "evaluation": {"every": 10, "max_completion_length": 8},
    "optimizer": {"learning_rate": 1e-3},
    "max_restarts": 100,
}
SPECS: dict[str, dict[str, Any]] = {
    "sft": COMMON
    | {"algorithm": {"type": "sft", "batch_size": 4}, "steps": 40, "checkpoint": {"every": 5, "keep_last": 2}},
    "grpo": COMMON
    | {"algorithm": {"type": "grpo", **POLICY}, "steps": 20, "checkpoint": {"every": 5, "keep_last": 1}, "seed": 1},
    "ppo": COMMON
    | {
        "algorithm": {"type": "ppo", **POLICY},
        "steps": 16,
        "checkpoint": {"every": 4, "keep_last": 2, "keep_best": "eval/accuracy"},
        "seed": 2,
    },
}
