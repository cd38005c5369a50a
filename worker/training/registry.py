"""The one place that knows which class runs which algorithm."""

from collections.abc import Callable
from typing import Any

from worker.training.grpo import GRPO
from worker.training.ppo import PPO
from worker.training.setup import Algorithm, Setup
from worker.training.sft import SFT

ALGORITHMS: dict[str, Callable[[Setup, Any], Algorithm]] = {"sft": SFT, "grpo": GRPO, "ppo": PPO}


def build(setup: Setup) -> Algorithm:
    """The algorithm that the spec names, ready for its first step."""
    spec = setup.spec.algorithm
    return ALGORITHMS[spec.type](setup, spec)
