"""A step of the algorithms without a critic: sample, compare the responses to each prompt, update.

What a paper defines, its advantages and its loss, is in that algorithm's file.
Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Generic, TypeVar

from torch import Tensor

from service.domain.algorithms import LossAggregation, PolicySpec
from worker.training.experience import Actor, Experience
from worker.training.improve import improve, silent, token_kl
from worker.training.reference import Reference
from worker.training.setup import Advanced, Kept, Setup, Stateful
from worker.training.surrogate import Batch, TokenLosses

Spec = TypeVar("Spec", bound=PolicySpec)


class PolicyGradient(Generic[Spec]):
    """One batch of responses a step, with all updates that are made from it."""

    def __init__(
        self,
        setup: Setup,
        spec: Spec,
        advantages: Callable[[Tensor, Spec], Tensor],
        token_losses: Callable[[Batch, Tensor, Spec], TokenLosses],
        aggregation: LossAggregation,
        *,
        silent_at_zero: bool = True,
    ) -> None:
        """`silent_at_zero`: an advantage of 0 leaves no gradient but that of KL and entropy."""
        self._setup, self._spec, self._silent_at_zero = setup, spec, silent_at_zero
        self._advantages, self._token_losses, self._aggregation = advantages, token_losses, aggregation
        self._actor, self._reference = Actor(setup, spec), Reference(setup, spec)
        self._learner = setup.learner()
        parts: dict[str, Stateful] = {"actor": self._actor, "reference": self._reference}
        self.kept = Kept({"policy": self._learner}, self._reference.modules(), parts)

    def advance(self, step: int) -> Advanced:
        """Sample, compare, update."""
        seen = self._actor.act(step)
        start = perf_counter()
        ref_BT = self._reference.logprobs(seen.sequences)
        advantage_B = self._compare(seen, ref_BT)
        learned = improve(
            self._setup,
            self._spec,
            self._learner,
            step,
            seen,
            lambda rows, batch: self._token_losses(batch, advantage_B[rows, None], self._spec),
            self._aggregation,
            ref_BT=ref_BT,
            beta=self._reference.beta,
            silent_B=silent(advantage_B, self._spec, ref_BT) if self._silent_at_zero else None,
        )
        pulled = self._reference.follow(step, seen.old_BT, ref_BT, seen.mask_BT)
        spread = {"policy/advantage_std": float(advantage_B.std(correction=min(1, len(advantage_B) - 1)))}
        times = {"time/train": perf_counter() - start}
        return Advanced(seen.metrics | spread | learned | pulled | times, seen.samples)

    def _compare(self, seen: Experience, ref_BT: Tensor | None) -> Tensor:
        """The advantages of all responses; a KL that is in the reward is taken off before."""
        reward_B = seen.reward_B
        if ref_BT is not None and self._spec.kl_placement == "reward":
            reward_B = reward_B - self._reference.beta * token_kl(seen, ref_BT, self._spec).sum(dim=1)
        return self._advantages(reward_B.view(-1, self._spec.num_generations), self._spec).flatten()
