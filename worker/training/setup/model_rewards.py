"""Rewards of trained reward models, on the trainer's device; rules have processes of their own."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.domain.rewards import RewardModelReward
from service.domain.specs import JobSpec
from worker.protocol import Loaded
from worker.training.data.encode import Encoder
from worker.training.data.rows import Row
from worker.training.decoding.generate import Responses
from worker.training.models.policy import Policy
from worker.training.rewards.pool import Score
from worker.training.rewards.registry import names
from worker.training.sequences.batching import Tokens
from worker.training.setup import scorer
from worker.training.setup.loading import report
from worker.training.setup.scorer import Scorer
from worker.training.updates.memory import Budget


class _RewardModel(NamedTuple):
    scorer: Scorer
    encoder: Encoder | None
    """None where the policy's own tokens can be read as they are."""


class ModelRewards:
    """The frozen reward models that a job names, and the scores that they give."""

    def __init__(self, spec: JobSpec, paths: Mapping[str, str], policy: Policy) -> None:
        data = spec.dataset.model_copy(update={"template": "text" if spec.dataset.template == "text" else "auto"})
        self.loaded: list[Loaded] = []
        """A report on each model."""
        self._models: dict[str, _RewardModel] = {}
        self._weights: dict[str, float] = {}
        for index, (name, reward) in enumerate(zip(names(spec.rewards), spec.rewards, strict=True)):
            self._weights[name] = reward.weight
            if isinstance(reward, RewardModelReward):
                loaded = scorer.load(paths[reward.model], f"rewards.{index}.model", spec, policy.device)
                self.loaded.append(report(loaded.policy, f"reward {name}", reward.model))
                same_tokens = _same_tokens(policy, loaded.policy)
                encoder = None if same_tokens else Encoder.of(loaded.policy, data, "dataset", [])
                self._models[name] = _RewardModel(loaded, encoder)

    def add_to(
        self, scores: list[Score], rows: Sequence[Row], texts: Sequence[str], responses: Responses, budget: Budget
    ) -> list[Score]:
        """The scores of the rules, with those of the models added."""
        if not self._models:
            return scores
        sequences = {name: _read(model, rows, texts, responses) for name, model in self._models.items()}
        values = {name: self._models[name].scorer.scores_within(budget, sequences[name]).tolist() for name in sequences}
        model_parts = [{name: values[name][row] for name in values} for row in range(len(rows))]
        return [self._add(*each) for each in zip(scores, model_parts, strict=True)]

    def _add(self, score: Score, model_parts: dict[str, float]) -> Score:
        """Parts in the order of the spec; the total is 0 where a rule failed."""
        parts = score.parts | model_parts
        model_total = sum(self._weights[name] * value for name, value in model_parts.items())
        total = 0.0 if score.error else score.total + model_total
        return Score(total, {name: parts[name] for name in self._weights}, score.error)


def _same_tokens(policy: Policy, reward_policy: Policy) -> bool:
    """Whether both models read the same ids for the same conversation."""
    templates = [getattr(each.tokenizer, "chat_template", None) for each in (policy, reward_policy)]
    return templates[0] == templates[1] and policy.tokenizer.get_vocab() == reward_policy.tokenizer.get_vocab()


def _read(model: _RewardModel, rows: Sequence[Row], texts: Sequence[str], responses: Responses) -> list[Tokens]:
    """Prompts and responses as the reward model reads them."""
    reward_policy = model.scorer.policy
    if model.encoder is None:
        return [_fitting(sequence, reward_policy.context) for sequence in responses.sequences]
    sequences = model.encoder.responses(rows, texts, ended=[not cut for cut in responses.truncated])
    return [_fitting(sequence, reward_policy.context) for sequence in sequences]


def _fitting(sequence: Tokens, limit: int) -> Tokens:
    """The last `limit` tokens."""
    excess = max(0, sequence.total - limit)
    prompt, completion = sequence.prompt, sequence.completion
    return Tokens(prompt[excess:], completion[max(0, excess - len(prompt)) :])
