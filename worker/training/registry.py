"""The one place that knows what runs which algorithm."""

from collections.abc import Callable
from typing import Any

from worker.training.data import Row
from worker.training.evaluate import Evaluation
from worker.training.grpo import grpo
from worker.training.importance_sampling import importance_sampling
from worker.training.mirror_descent import mirror_descent
from worker.training.ppo import PPO
from worker.training.reinforce import reinforce
from worker.training.reward_model import RewardModeling
from worker.training.setup import Algorithm, Evaluator, Setup
from worker.training.sft import SFT

ALGORITHMS: dict[str, Callable[[Setup, Any], Algorithm]] = {
    "sft": SFT,
    "reward_model": RewardModeling,
    "reinforce": reinforce,
    "importance_sampling": importance_sampling,
    "mirror_descent": mirror_descent,
    "grpo": grpo,
    "ppo": PPO,
}


def build(setup: Setup) -> Algorithm:
    """The algorithm that the spec names, ready for its first step."""
    spec = setup.spec.algorithm
    return ALGORITHMS[spec.type](setup, spec)


def evaluation(setup: Setup, algorithm: Algorithm, rows: list[Row]) -> Evaluator:
    """What looks at the held-out rows: a reward model ranks pairs, a policy answers questions."""
    return algorithm.evaluation(rows) if isinstance(algorithm, RewardModeling) else Evaluation(setup, rows)
