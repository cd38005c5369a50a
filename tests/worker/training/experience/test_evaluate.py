import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch

from hone.errors import Invalid
from service.domain.metrics import describe, higher_is_better
from worker.training.decoding import generate as generation
from worker.training.experience import evaluate
from worker.training.experience.evaluate import Evaluation, pass_at
from worker.training.objectives.aggregate import row_weights
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup

Make = Callable[..., Setup]
DATA = {"source": "linear-algebra", "style": "symbolic", "size": 3, "seed": 2}
LETTERS = [{"type": "regex", "pattern": "[a-m]"}, {"type": "regex", "pattern": "[0-9]", "weight": 0.5}]
ROWS = [{"prompt": f"say {i}", "answer": "1"} for i in range(5)]


def _setup(make: Make, algorithm: str = "grpo", **changes: Any) -> Setup:
    settings = {"max_completion_length": 4} | changes.pop("evaluation", {})
    return make(algorithm, **{"eval_dataset": DATA, "rewards": LETTERS, "evaluation": settings} | changes)


def test_pass_at_k_is_the_share_of_choices_of_k_with_a_right_one() -> None:
    for right in range(6):
        for k in range(1, 6):
            chosen = list(combinations([True] * right + [False] * (5 - right), k))
            assert pass_at(k, right, 5) == pytest.approx(sum(map(any, chosen)) / len(chosen))


def test_accuracy_reward_and_pass_at_k_are_means_over_the_responses(make_setup: Make) -> None:
    sampled = {"num_generations": 4, "temperature": 1.0, "pass_at": [1, 2, 4]}
    setup = _setup(make_setup, evaluation=sampled, samples_per_step=20)
    metrics, samples = Evaluation(setup, ROWS).run()
    assert len(samples) == 20 and {sample.split for sample in samples} == {"eval"}
    assert [sample.prompt for sample in samples] == [row["prompt"] for row in ROWS for _ in range(4)]
    right = [sample.rewards["regex"] == 1 for sample in samples]
    assert 0 < metrics["eval/accuracy"] == sum(right) / 20 < 1
    assert metrics["eval/reward"] == pytest.approx(sum(sample.reward or 0.0 for sample in samples) / 20)
    assert metrics["eval/rewards/regex_2"] == sum(sample.rewards["regex_2"] == 1 for sample in samples) / 20
    assert metrics["eval/rewards/errors"] == 0
    assert metrics["eval/pass@1"] == pytest.approx(metrics["eval/accuracy"])
    assert metrics["eval/pass@4"] == sum(any(right[i : i + 4]) for i in range(0, 20, 4)) / 5
    assert metrics["eval/pass@1"] <= metrics["eval/pass@2"] <= metrics["eval/pass@4"]
    assert metrics["eval/truncated"] == sum(sample.truncated for sample in samples) / 20 > 0.5
    assert metrics["eval/completion_length"] == sum(sample.tokens for sample in samples) / 20 <= 4
    assert "eval/loss" not in metrics


def test_evaluations_of_the_same_weights_are_equal_and_another_seed_asks_otherwise(make_setup: Make) -> None:
    sampled = {"num_generations": 3, "temperature": 1.0}
    runs = []
    for seed in (0, 0, 1):
        setup = _setup(make_setup, seed=seed, evaluation=sampled, samples_per_step=15)
        setup = replace(setup, policy=_setup(make_setup).policy)  # the same weights
        evaluation = Evaluation(setup, ROWS)
        evaluation.run()
        runs.append([sample.response for sample in evaluation.run()[1]])
    assert runs[0] == runs[1] != runs[2]


def test_temperature_top_k_and_top_p_reach_the_sampler(make_setup: Make) -> None:
    def responses(**evaluation: float) -> list[str]:
        setup = _setup(make_setup, evaluation=evaluation, samples_per_step=5)
        return [sample.response for sample in Evaluation(setup, ROWS).run()[1]]

    greedy = responses()
    assert responses(temperature=1.0) != greedy
    assert responses(temperature=1.0, top_k=1) == responses(temperature=1.0, top_p=1e-6) == greedy


def test_when_memory_runs_out_smaller_batches_give_the_same_metrics(
    make_setup: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = {"num_generations": 2, "temperature": 1.0, "pass_at": [2]}
    expected = Evaluation(_setup(make_setup, evaluation=sampled), ROWS).run()
    setup, sizes = _setup(make_setup, evaluation=sampled | {"batch_size": 4}, rollout_batch_size=8), []

    def tight(*arguments: Any) -> generation.Responses:
        sizes.append(arguments[-1])
        if arguments[-1] > 2:
            raise torch.OutOfMemoryError
        return generation.generate(*arguments)

    monkeypatch.setattr(evaluate, "generate", tight)
    assert Evaluation(setup, ROWS).run() == expected
    assert sizes == [8, 4, 2]
    assert len(setup.notes) == 2 and "responses at once" in setup.notes[0].message


@pytest.mark.parametrize("mode", ["token_mean", "seq_mean", "seq_sum"])
def test_the_loss_of_held_out_completions_is_the_training_loss_and_perplexity_is_per_token(
    make_setup: Make, mode: str
) -> None:
    setup = _setup(make_setup, "sft", rewards=[], algorithm_changes={"loss_aggregation": mode})
    rows = [{"prompt": "1+1=", "completion": "2"}, {"prompt": "ab", "completion": "cdef"}]
    metrics, samples = Evaluation(setup, rows).run()
    assert samples == [] and set(metrics) == {"eval/loss", "eval/perplexity"}
    expected = [_log_likelihood(setup, sequence) for sequence in setup.encoder.encode_nonempty(rows, 100).sequences]
    weights = row_weights(torch.tensor([2, 5]), mode)  # type: ignore[arg-type]
    assert metrics["eval/loss"] == pytest.approx(-float(torch.stack(expected) @ weights), rel=1e-5)
    assert metrics["eval/perplexity"] == pytest.approx(math.exp(-sum(map(float, expected)) / 7), rel=1e-5)


def _log_likelihood(setup: Setup, sequence: Tokens) -> torch.Tensor:
    ids = torch.tensor([[*sequence.prompt, *sequence.completion]])
    with torch.no_grad():
        logp: torch.Tensor = setup.policy.model(ids).logits[0].log_softmax(-1)
    return logp[len(sequence.prompt) - 1 : -1].gather(1, torch.tensor(sequence.completion)[:, None]).sum()


def test_which_tokens_count_and_how_long_rows_are_cut_is_as_in_training(make_setup: Make) -> None:
    rows = [{"text": "abcdefgh"}, {"prompt": "ab", "completion": "c" * 50}]
    own = {"loss_on": "all", "max_length": 12, "truncation": "end"}
    setup = _setup(make_setup, "sft", rewards=[], algorithm_changes=own)
    metrics, _ = Evaluation(setup, rows).run()
    sequences = setup.encoder.encode_nonempty(rows, 12, "all").sequences
    tokens = sum(len(sequence.completion) for sequence in sequences)
    likelihood = sum(float(_log_likelihood(setup, sequence)) for sequence in sequences)
    assert tokens == 8 + 11
    assert metrics["eval/loss"] == pytest.approx(-likelihood / tokens, rel=1e-5)


def test_a_job_that_learns_from_rewards_reports_the_loss_of_completions_that_it_is_given(make_setup: Make) -> None:
    rows = [{"prompt": "1+1=", "answer": "2", "completion": "= 2"}, {"prompt": "2+1=", "answer": "3"}]
    metrics, _ = Evaluation(_setup(make_setup), rows).run()
    assert math.log(metrics["eval/perplexity"]) == pytest.approx(metrics["eval/loss"])


def test_rows_that_cannot_be_evaluated_are_refused(make_setup: Make) -> None:
    with pytest.raises(Invalid, match="eval_dataset, row 1 has `prompt`, `completion`; evaluation of grpo needs"):
        Evaluation(_setup(make_setup, rewards=[{"type": "exact"}]), [{"prompt": "a", "completion": "b"}])
    with pytest.raises(Invalid, match="eval_dataset, row 2 has `text`; evaluation of sft needs"):
        Evaluation(_setup(make_setup, "sft", rewards=[]), [*ROWS[:1], {"text": "b"}])


def test_a_policy_that_knows_nothing_at_all_has_a_finite_perplexity(make_setup: Make) -> None:
    setup = _setup(make_setup, "sft", rewards=[])
    with torch.no_grad():
        setup.policy.model.get_parameter("model.norm.weight").fill_(1e4)
    metrics, _ = Evaluation(setup, [{"prompt": "1+1=", "completion": "2"}]).run()
    assert metrics["eval/loss"] > 1000 and math.isfinite(metrics["eval/perplexity"])


def test_metrics_that_come_in_families_are_described_one_by_one() -> None:
    assert describe("eval/pass@8") == describe("eval/pass@1") and higher_is_better("eval/pass@8")
    assert describe("eval/rewards/math") != describe("eval/rewards/errors")
    assert higher_is_better("eval/rewards/math") and not higher_is_better("eval/rewards/errors")
    assert not higher_is_better("eval/perplexity")
    assert describe("reward/math") != describe("eval/rewards/math") and describe("eval/nothing") is None
