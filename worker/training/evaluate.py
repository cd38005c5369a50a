"""Held-out rows: answered and scored; and how surprised the model is by their right completions.

    pass@k = mean over prompts of 1 - C(n - c, k) / C(n, k)

for n responses of which c are right: the chance that one of k drawn from them is (Chen et al. 2021, arXiv:2107.03374,
equation 1; unbiased, unlike 1 - (1 - c/n)^k).
"""

from math import comb, exp

from service.domain.rewards import AnyReward, MathReward
from service.domain.specs import JobSpec
from service.domain.supervised import SFTAggregation, SFTSpec
from worker.training import data
from worker.training.aggregate import row_weights
from worker.training.batching import Tokens, lengths
from worker.training.data import Row
from worker.training.encode import Encoder
from worker.training.events import Sample
from worker.training.logprobs import frozen_logprobs
from worker.training.rewards.registry import rules
from worker.training.rollout import Responses, Sampling, generate
from worker.training.scoring import Judged, judge
from worker.training.setup import Setup
from worker.training.turns import Turns

DEFAULT_COMPLETION_LENGTH = 512
LARGEST = 700.0  # nats whose exponential is still a float
STEP = -1  # of the random numbers: no step of the training, and the same for every evaluation


def rewards(spec: JobSpec) -> list[AnyReward]:
    """The rules that score responses: the job's own, or mathematical equality where it only evaluates."""
    if spec.rewards or spec.eval_dataset is None or spec.algorithm.type == "reward_model":
        return rules(spec.rewards)
    return [MathReward()]


class Evaluation:
    """The same questions to each version of the policy, sampled with the same random numbers."""

    def __init__(self, setup: Setup, rows: list[Row]) -> None:
        spec, policy = setup.spec, setup.policy
        assert spec.eval_dataset is not None
        encoder = Encoder(policy.tokenizer, spec.eval_dataset.template, "eval_dataset", setup.tools.schemas)
        data.require(rows, _needs(spec), "eval_dataset", f"evaluation of {spec.algorithm.type}")
        self._setup, self._spec = setup, spec.evaluation
        self._max_tokens = min(_max_tokens(spec), policy.context // 2)
        self._asked = [row for row in rows if row.get("prompt") is not None and row.get("answer") is not None]
        self._prompts = encoder.prompts(self._asked, policy.context - self._max_tokens)
        self._known = _known(setup, encoder, rows)
        self._turns = Turns(policy, encoder, setup.tools, self._asked) if setup.tools.spec else None

    def run(self) -> tuple[dict[str, float], list[Sample]]:
        """The metrics of the policy as it is now, and some of its responses."""
        metrics, samples = self._answer() if self._asked else ({}, [])
        return metrics | (self._surprise() if self._known else {}), samples

    def _answer(self) -> tuple[dict[str, float], list[Sample]]:
        rows = [row for row in self._asked for _ in range(self._spec.num_generations)]
        judged = judge(self._setup, rows, self._responses())
        metrics = _metrics(judged, self._spec.num_generations, self._spec.pass_at)
        return metrics, judged.samples("eval", self._setup.spec.samples_per_step)

    def _responses(self) -> Responses:
        setup, spec = self._setup, self._spec
        how = Sampling(
            self._max_tokens,
            spec.temperature,
            spec.num_generations,
            setup.spec.seed,
            STEP,
            top_k=spec.top_k,
            top_p=spec.top_p,
        )
        if self._turns:
            return self._turns.play(self._prompts, self._asked, how, self._sample)
        return self._sample(self._prompts, how)

    def _sample(self, prompts: list[list[int]], how: Sampling) -> Responses:
        most = self._spec.batch_size * self._spec.num_generations
        return self._setup.rollouts.run(lambda size: generate(self._setup.policy, prompts, how, min(size, most)))

    def _surprise(self) -> dict[str, float]:
        """The loss as in training, and the perplexity: e to the mean negative log-likelihood of a token."""
        setup = self._setup
        length_B = lengths(self._known, setup.policy.device)
        logp_BT = setup.tokens.run(lambda size: frozen_logprobs(setup.policy, self._known, 1.0, size))
        modes: list[SFTAggregation] = [_aggregation(setup.spec), "token_mean"]
        loss, mean = (float(-(logp_BT.sum(1) * row_weights(length_B, mode)).sum()) for mode in modes)
        return {"eval/loss": loss, "eval/perplexity": exp(min(mean, LARGEST))}


def pass_at(k: int, right: int, of: int) -> float:
    """The chance that one of k is right, drawn from `of` responses to a prompt of which `right` are."""
    return 1 - comb(of - right, k) / comb(of, k)


def _metrics(judged: Judged, generations: int, at: list[int]) -> dict[str, float]:
    metrics = {
        "eval/reward": sum(judged.totals) / len(judged.totals),
        "eval/truncated": judged.truncated,
        "eval/completion_length": judged.completion_length,
        **{f"eval/{name}": value for name, value in judged.tool_metrics().items()},
        **{name.replace("reward/", "eval/rewards/"): value for name, value in judged.reward_metrics().items()},
    }
    if judged.accuracy is None:
        return metrics
    groups = [judged.correct[start : start + generations] for start in range(0, len(judged.correct), generations)]
    chances = {k: [pass_at(k, sum(group), generations) for group in groups] for k in at}
    metrics |= {f"eval/pass@{k}": sum(each) / len(each) for k, each in chances.items()}
    return {"eval/accuracy": judged.accuracy, **metrics}


def _needs(spec: JobSpec) -> list[tuple[str, ...]]:
    """The shapes that can be evaluated: with an answer, or, where that is what is trained, with a completion."""
    match spec.algorithm:
        case SFTSpec() as sft:
            text: list[tuple[str, ...]] = [("text",)] if sft.loss_on == "all" else []
            return [("prompt", "answer"), ("prompt", "completion"), ("messages",), *text]
        case _:
            return [("prompt", "answer")]


def _known(setup: Setup, encoder: Encoder, rows: list[Row]) -> list[Tokens]:
    """Those of the rows that say how they go on, cut and marked as in training."""
    limit, spec = setup.policy.context, setup.spec.algorithm
    shapes = [("prompt", "completion"), ("messages",), *_needs(setup.spec)[3:]]
    known = [row for row in rows if any(all(row.get(name) is not None for name in shape) for shape in shapes)]
    if not known:
        return []
    if isinstance(spec, SFTSpec):
        return encoder.pairs(known, min(spec.max_length, limit), spec.loss_on, spec.truncation).sequences
    return encoder.pairs(known, limit).sequences


def _aggregation(spec: JobSpec) -> SFTAggregation:
    return spec.algorithm.loss_aggregation if isinstance(spec.algorithm, SFTSpec) else "token_mean"


def _max_tokens(spec: JobSpec) -> int:
    trained = getattr(spec.algorithm, "max_completion_length", None)
    return spec.evaluation.max_completion_length or trained or DEFAULT_COMPLETION_LENGTH
