"""One batch of responses with their rewards: what PPO and GRPO learn from in one step.

Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from service.domain.errors import Invalid
from service.domain.specs import PolicySpec
from worker.training.batching import Tokens, lengths
from worker.training.data import require
from worker.training.events import Sample
from worker.training.rollout import Sampling, generate
from worker.training.scoring import Judged, judge
from worker.training.setup import Setup


@dataclass(frozen=True)
class Experience:
    """Responses of pi_old; those to one prompt stand together."""

    sequences: list[Tokens]
    old_BT: Tensor
    """log pi_old, the sampling distribution."""
    length_B: Tensor
    reward_B: Tensor
    metrics: dict[str, float]
    samples: list[Sample]

    @property
    def mask_BT(self) -> Tensor:
        """1 where there is a token."""
        return (torch.arange(self.old_BT.shape[1], device=self.length_B.device) < self.length_B[:, None]).float()


class Actor:
    """The policy at work on the training prompts."""

    def __init__(self, setup: Setup, spec: PolicySpec, algorithm: str) -> None:
        require(setup.rows, [("prompt", "answer")], "dataset", algorithm)
        self._setup, self._spec = setup, spec
        room = setup.policy.context - spec.max_completion_length
        if room < 2:
            message = f"algorithm.max_completion_length is {spec.max_completion_length}, but the model reads only"
            raise Invalid(
                f"{message} {setup.policy.context} tokens, prompt included; lower it",
                param="algorithm.max_completion_length",
            )
        self._prompts = setup.encoder.prompts(setup.rows, room)

    def act(self, step: int) -> Experience:
        """Answer the prompts of a step (counted from 0) and score the answers."""
        setup, spec, start = self._setup, self._spec, perf_counter()
        chosen = setup.batch(step, spec.prompts_per_step)
        how = Sampling(spec.max_completion_length, spec.temperature, spec.num_generations, setup.spec.seed, step)
        responses = generate(setup.policy, [self._prompts[row] for row in chosen], how)
        rolled_out = perf_counter()
        rows = [setup.rows[row] for row in chosen for _ in range(spec.num_generations)]
        judged = judge(setup.pool, setup.policy, rows, responses)
        times = {"time/rollout": rolled_out - start, "time/reward": perf_counter() - rolled_out}
        device = setup.policy.device
        return Experience(
            responses.sequences,
            responses.logp_BC,
            lengths(responses.sequences, device),
            torch.tensor(judged.totals, device=device),
            _metrics(judged, spec.num_generations) | times,
            judged.samples("train", setup.spec.samples_per_step),
        )


def minibatches(spec: PolicySpec) -> Iterator[list[int]]:
    """The rows of each update of a step: whole groups, in the (already shuffled) order of the prompts."""
    size = spec.prompts_per_step // spec.minibatches * spec.num_generations
    for _ in range(spec.num_iterations):
        for part in range(spec.minibatches):
            yield list(range(part * size, (part + 1) * size))


def _metrics(judged: Judged, generations: int) -> dict[str, float]:
    reward_PG = torch.tensor(judged.totals, dtype=torch.float64).view(-1, generations)
    return {
        "policy/reward": float(reward_PG.mean()),
        "policy/reward_std": float(reward_PG.std(correction=min(1, reward_PG.numel() - 1))),
        "policy/zero_variance": float((reward_PG == reward_PG[:, :1]).all(dim=1).double().mean()),
        "policy/entropy": float(judged.responses.entropy),
        "policy/completion_length": judged.completion_length,
        "policy/truncated": judged.truncated,
        "train/tokens": float(sum(sequence.total for sequence in judged.responses.sequences)),
        **judged.reward_metrics(),
    }
