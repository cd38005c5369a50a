"""Evaluation on held-out rows: responses to their questions, scored; and the loss of their completions.

    pass@k = mean over prompts of 1 - C(n - c, k) / C(n, k)

for n responses of which c are right: the probability that one of k drawn from them is right (Chen et al. 2021,
arXiv:2107.03374, equation 1; unbiased, unlike 1 - (1 - c/n)^k).
"""

from math import comb, exp, isnan
from typing import NamedTuple

from service.domain.algorithms import DEFAULT_COMPLETION_LENGTH
from service.domain.needs import question_columns
from service.domain.rewards import AnyReward, MathReward
from service.domain.specs import JobSpec
from service.domain.supervised import SFTAggregation, SFTSpec
from worker.protocol import SampledResponse
from worker.training import spec_notes
from worker.training.data.encode import Encoder
from worker.training.data.rows import Row, require_columns
from worker.training.decoding.generate import Responses, Sampling, generate
from worker.training.experience.multi_turn import MultiTurnSampler
from worker.training.experience.prompt_limits import asked, limit_of
from worker.training.experience.scoring import ScoredResponses, score_responses
from worker.training.models.logprobs import frozen_logprobs
from worker.training.objectives.aggregate import row_weights
from worker.training.rewards.registry import rules
from worker.training.sequences.batching import Tokens, lengths
from worker.training.setup.job import Setup

MAX_NATS = 700.0  # whose exponential is still a float
STEP = -1  # for the random numbers: no step of the training, and the same for every evaluation


def rewards(spec: JobSpec) -> list[AnyReward]:
    """The rules that score responses: the job's own, or mathematical equality where it only evaluates."""
    if spec.rewards or spec.eval_dataset is None or spec.algorithm.type == "reward_model":
        return rules(spec.rewards)
    return [MathReward()]


class RowShapes(NamedTuple):
    """The columns of rows that can be evaluated."""

    question: list[tuple[str, ...]]
    """For responses that are scored."""
    completion: list[tuple[str, ...]]
    """For the loss."""


class Evaluation:
    """The same held-out rows for each version of the policy, sampled with the same random numbers."""

    def __init__(self, setup: Setup, rows: list[Row]) -> None:
        spec, policy = setup.spec, setup.policy
        assert spec.eval_dataset is not None
        encoder = Encoder.of(policy, spec.eval_dataset, "eval_dataset", setup.notes, setup.tools.schemas)
        require_columns(rows, _required(spec), "eval_dataset", f"evaluation of {spec.algorithm.type}")
        self._setup, self._spec = setup, spec.evaluation
        self._max_tokens = min(_max_tokens(spec), policy.context // 2)
        asks = question_columns(spec)
        questions = [row for row in rows if all(row.get(name) is not None for name in asks)]
        limit = limit_of(spec, policy.context, self._max_tokens, "evaluation.max_completion_length")
        self._questions, self._prompts = asked(questions, encoder, limit, "eval_dataset", setup.notes)
        self._completions = _completions(setup, encoder, rows)
        has_tools = setup.tools.spec is not None
        self._multi_turn = MultiTurnSampler(policy, encoder, setup.tools, self._questions) if has_tools else None

    def run(self) -> tuple[dict[str, float], list[SampledResponse]]:
        """The metrics of the policy as it is now, and some of its responses."""
        metrics, samples = self._respond() if self._questions else ({}, [])
        return metrics | (self._completion_loss() if self._completions else {}), samples

    def _respond(self) -> tuple[dict[str, float], list[SampledResponse]]:
        rows = [row for row in self._questions for _ in range(self._spec.num_generations)]
        scored = score_responses(self._setup, rows, self._responses())
        metrics = _metrics(scored, self._spec.num_generations, self._spec.pass_at)
        return metrics, scored.samples("eval", self._setup.spec.samples_per_step)

    def _responses(self) -> Responses:
        setup, spec = self._setup, self._spec
        sampling = Sampling(
            self._max_tokens,
            spec.temperature,
            spec.num_generations,
            setup.spec.seed,
            STEP,
            top_k=spec.top_k,
            top_p=spec.top_p,
        )
        if self._multi_turn:
            return self._multi_turn.sample(self._prompts, self._questions, sampling, self._generate)
        return self._generate(self._prompts, sampling)

    def _generate(self, prompts: list[list[int]], sampling: Sampling) -> Responses:
        limit = self._spec.batch_size * self._spec.num_generations
        return self._setup.rollouts.run(lambda size: generate(self._setup.policy, prompts, sampling, min(size, limit)))

    def _completion_loss(self) -> dict[str, float]:
        """The loss as in training, and the perplexity: e to the mean negative log-likelihood of a token."""
        setup = self._setup
        length_B = lengths(self._completions, setup.policy.device)
        logp_BT = setup.tokens.run(lambda size: frozen_logprobs(setup.policy, self._completions, 1.0, size))
        modes: list[SFTAggregation] = [_aggregation(setup.spec), "token_mean"]
        loss, token_mean = (float(-(logp_BT.sum(1) * row_weights(length_B, mode)).sum()) for mode in modes)
        return {"eval/loss": loss, "eval/perplexity": exp(min(token_mean, MAX_NATS))}


def pass_at(k: int, right: int, total: int) -> float:
    """The probability that one of k is right, drawn from `total` responses to a prompt of which `right` are."""
    return 1 - comb(total - right, k) / comb(total, k)


def _metrics(scored: ScoredResponses, generations: int, at: list[int]) -> dict[str, float]:
    judged = [total for total in scored.totals if not isnan(total)]
    metrics = {
        "eval/reward": sum(judged) / len(judged),
        "eval/truncated": scored.truncated,
        "eval/completion_length": scored.completion_length,
        **{f"eval/{name}": value for name, value in scored.tool_metrics().items()},
        **{name.replace("reward/", "eval/rewards/"): value for name, value in scored.reward_metrics().items()},
    }
    if scored.accuracy is None:
        return metrics
    for k in at:
        # of a prompt with fewer than k judged responses the probability cannot be estimated without bias
        each = [pass_at(k, sum(group), len(group)) for group in _judged_groups(scored, generations) if len(group) >= k]
        if each:
            metrics[f"eval/pass@{k}"] = sum(each) / len(each)
    return {"eval/accuracy": scored.accuracy, **metrics}


def _judged_groups(scored: ScoredResponses, generations: int) -> list[list[bool]]:
    """Which of the judged responses to each prompt are right."""
    outcomes = list(zip(scored.correct, scored.judged, strict=True))
    groups = [outcomes[start : start + generations] for start in range(0, len(outcomes), generations)]
    return [[right for right, judged in group if judged] for group in groups]


def _row_shapes(spec: JobSpec) -> RowShapes:
    """Plain text has no completion, unless all of it is learned."""
    completion: list[tuple[str, ...]] = [("prompt", "completion"), ("messages",)]
    if isinstance(spec.algorithm, SFTSpec) and spec.algorithm.loss_on == "all":
        completion.append(("text",))
    return RowShapes([question_columns(spec)], completion)


def _required(spec: JobSpec) -> list[tuple[str, ...]]:
    """The shapes of which each row must have one: completions are enough only where they are what is trained."""
    shapes = _row_shapes(spec)
    return shapes.question + shapes.completion if isinstance(spec.algorithm, SFTSpec) else shapes.question


def _completions(setup: Setup, encoder: Encoder, rows: list[Row]) -> list[Tokens]:
    """The rows that have a completion, with the same length limit and loss mask as in training."""
    limit, spec = setup.policy.context, setup.spec.algorithm
    shapes = _row_shapes(setup.spec).completion
    complete = [row for row in rows if any(all(row.get(name) is not None for name in shape) for shape in shapes)]
    if not complete:
        return []
    if isinstance(spec, SFTSpec):
        limit = min(spec.max_length, limit)
        encoded = encoder.encode_nonempty(complete, limit, spec.loss_on, spec.truncation)
        setup.notes.extend(spec_notes.too_long("eval_dataset", encoded, spec.max_length, setup.policy.context))
    else:
        encoded = encoder.encode_nonempty(complete, limit)
        setup.notes.extend(spec_notes.too_long("eval_dataset", encoded, None, setup.policy.context))
    return encoded.sequences


def _aggregation(spec: JobSpec) -> SFTAggregation:
    return spec.algorithm.loss_aggregation if isinstance(spec.algorithm, SFTSpec) else "token_mean"


def _max_tokens(spec: JobSpec) -> int:
    trained = getattr(spec.algorithm, "max_completion_length", None)
    return spec.evaluation.max_completion_length or trained or DEFAULT_COMPLETION_LENGTH
