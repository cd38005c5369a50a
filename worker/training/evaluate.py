"""Held-out rows: answered greedily and scored; for SFT also how surprised the model is by the right completions."""

from service.domain.rewards import AnyReward, MathReward
from service.domain.specs import JobSpec, LossAggregation
from worker.training import data
from worker.training.aggregate import row_weights
from worker.training.batching import Tokens, lengths
from worker.training.data import Encoder, Row
from worker.training.events import Sample
from worker.training.logprobs import frozen_logprobs
from worker.training.models import Policy
from worker.training.rewards.pool import RewardPool
from worker.training.rollout import Responses, Sampling, generate
from worker.training.scoring import judge

DEFAULT_COMPLETION_LENGTH = 512


def rewards(spec: JobSpec) -> list[AnyReward]:
    """What scores the responses of a job: its own rewards, or mathematical equality where it only evaluates."""
    return spec.rewards or ([MathReward()] if spec.eval_dataset else [])


class Evaluation:
    """The same questions to each version of the policy."""

    def __init__(self, spec: JobSpec, policy: Policy, rows: list[Row], pool: RewardPool) -> None:
        self._spec, self._policy, self._pool = spec, policy, pool
        supervised = spec.algorithm.type == "sft"
        needs = [("prompt", "answer"), *([("messages",), ("prompt", "completion")] if supervised else [])]
        data.require(rows, needs, "eval_dataset", f"evaluation of {spec.algorithm.type}")
        template = spec.eval_dataset.template if spec.eval_dataset else "auto"
        encoder = Encoder(policy.tokenizer, template, "eval_dataset")
        self._max_tokens = min(_max_tokens(spec), policy.context // 2)
        self._asked = [row for row in rows if row.get("prompt") is not None and row.get("answer") is not None]
        self._prompts = encoder.prompts(self._asked, policy.context - self._max_tokens)
        known = [row for row in rows if row.get("messages") is not None or row.get("completion") is not None]
        limit = min(getattr(spec.algorithm, "max_length", policy.context), policy.context)
        self._known = encoder.pairs(known, limit) if supervised else []

    def run(self) -> tuple[dict[str, float], list[Sample]]:
        """The metrics of the policy as it is now, and some of its responses."""
        metrics, samples = self._answer() if self._asked else ({}, [])
        return metrics | self._loss(), samples

    def _answer(self) -> tuple[dict[str, float], list[Sample]]:
        judged = judge(self._pool, self._policy, self._asked, self._responses())
        metrics = {
            "eval/accuracy": judged.accuracy,
            "eval/reward": sum(judged.totals) / len(judged.totals),
            "eval/truncated": judged.truncated,
            "eval/completion_length": judged.completion_length,
        }
        return metrics, judged.samples("eval", self._spec.samples_per_step)

    def _responses(self) -> Responses:
        size, how = self._spec.evaluation.batch_size, Sampling(self._max_tokens, temperature=0.0)
        parts = [
            generate(self._policy, self._prompts[start : start + size], how)
            for start in range(0, len(self._prompts), size)
        ]
        sequences = [sequence for part in parts for sequence in part.sequences]
        truncated = [cut for part in parts for cut in part.truncated]
        return Responses(sequences, parts[0].logp_BC, parts[0].entropy, truncated)

    def _loss(self) -> dict[str, float]:
        """Mean negative log-likelihood of a completion token."""
        return {"eval/loss": completion_loss(self._policy, self._known, self._spec)} if self._known else {}


def completion_loss(policy: Policy, sequences: list[Tokens], spec: JobSpec) -> float:
    """The loss of the right completions, aggregated as in training."""
    mode: LossAggregation = getattr(spec.algorithm, "loss_aggregation", "token_mean")
    logp_BT = frozen_logprobs(policy, sequences, 1.0, spec.micro_batch_tokens)
    weight_B = row_weights(lengths(sequences, policy.device), mode)
    return float(-(logp_BT.sum(1) * weight_B).sum())


def _max_tokens(spec: JobSpec) -> int:
    trained = getattr(spec.algorithm, "max_completion_length", None)
    return spec.evaluation.max_completion_length or trained or DEFAULT_COMPLETION_LENGTH
