import json
import random
from collections.abc import Callable
from math import isnan
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits, punctuation
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

from hone.errors import Invalid
from service.domain.metrics import describe
from service.domain.specs import JobSpec
from worker.protocol import Assignment, Evaluated, Sampled, Saved, Step
from worker.training import loop
from worker.training.decoding.generate import Responses
from worker.training.experience.scoring import ScoredResponses, score_responses
from worker.training.models.policy import Policy, load_policy
from worker.training.rewards.pool import RewardPool
from worker.training.sequences.batching import Tokens
from worker.training.setup import scorer
from worker.training.setup.job import Setup

NAME = "job:ftjob-1@latest"
REWARD = {"type": "reward_model", "model": NAME}
DATA = {"source": "linear-algebra", "style": "symbolic", "size": 24}
GRPO = {"type": "grpo", "prompts_per_step": 2, "num_generations": 4, "max_completion_length": 8}


def more_letters(count: int, seed: int) -> list[dict[str, Any]]:
    """The response with more small letters is the better one."""
    chance = random.Random(seed)
    characters = ascii_lowercase + digits + ascii_uppercase + punctuation
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        texts = ["".join(chance.choices(characters, k=chance.randint(1, 6))) for _ in range(2)]
        worse, better = sorted(texts, key=lambda text: sum(map(str.islower, text)))
        if sum(map(str.islower, worse)) < sum(map(str.islower, better)):
            rows.append({"prompt": f"{len(rows)}:", "chosen": better, "rejected": worse})
    return rows


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checkpoint of a job that has learned to like small letters."""
    folder = tmp_path_factory.mktemp("reward-model")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in more_letters(400, 0)))
    spec = {
        "algorithm": {"type": "reward_model", "batch_size": 32, "center_rewards_coefficient": 0.01},
        "dataset": {"source": "file-1"},
        "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
        "steps": 40,
    }
    files = {"file-1": str(folder / "pairs.jsonl")}
    assignment = Assignment(
        job_id="ftjob-1", attempt=1, spec=spec, directory=str(folder), models={"tiny": "tiny"}, files=files
    )
    events = list(loop.run(assignment, lambda: None))
    return next(event.directory for event in events if isinstance(event, Saved))


def _setup(policy: Policy, reward_model: str, *rewards: dict[str, Any]) -> Setup:
    """A job on prompts of which the first ones are answered by hand."""
    document = {"algorithm": GRPO, "dataset": DATA, "rewards": list(rewards) or [REWARD]}
    paths = {"tiny": "tiny", NAME: reward_model}
    return Setup(JobSpec.model_validate(document), policy, paths, [], RewardPool([]))


def _answers(policy: Policy, *texts: str, cut: bool = False) -> Responses:
    """Responses of the policy's to `1:`, with their end unless the length limit cut them off."""
    ends = [] if cut else policy.stops[:1]
    words = policy.tokenizer
    sequences = [Tokens(words("1:").input_ids, [*words(text).input_ids, *ends]) for text in texts]
    return Responses(sequences, torch.zeros(len(texts), 8), torch.zeros(()), [cut] * len(texts))


def _scored(setup: Setup, responses: Responses) -> ScoredResponses:
    rows = [{"prompt": "1:", "answer": "aaaa"} for _ in responses.sequences]
    return score_responses(setup, rows, responses)


def test_the_score_of_a_response_is_what_the_reward_model_says(policy: Policy, reward_model: str) -> None:
    setup = _setup(policy, reward_model, REWARD | {"weight": 0.5})
    responses = _answers(policy, "abcabc", "D7-B")
    scored = _scored(setup, responses)
    loaded = scorer.load(reward_model, "", setup.spec, policy.device)
    expected = loaded.scores(responses.sequences, 8192).tolist()
    assert [score.parts for score in scored.scores] == [{"reward_model": score} for score in expected]
    assert scored.totals == [0.5 * score for score in expected]
    assert expected[0] > expected[1] + 1
    assert scored.reward_metrics()["reward/reward_model"] == pytest.approx(sum(expected) / 2)


def test_several_are_numbered_and_rules_stand_where_the_spec_has_them(policy: Policy, reward_model: str) -> None:
    rule = {"type": "exact", "extract": "whole", "weight": 2.0}
    rewards: list[dict[str, Any]] = [REWARD, rule, REWARD | {"weight": -1.0}]
    setup = _setup(policy, reward_model, *rewards)
    with RewardPool(setup.spec.rewards[1:2]) as pool:
        setup.pool = pool
        scored = _scored(setup, _answers(policy, "aaaa", "bbbb"))
    assert [list(score.parts) for score in scored.scores] == [["reward_model", "exact", "reward_model_2"]] * 2
    assert scored.totals == pytest.approx([2.0, 0.0], abs=1e-5)
    assert scored.correct == [True, False] and scored.accuracy == 0.5


def test_a_models_score_has_no_full_marks(policy: Policy, reward_model: str) -> None:
    scored = _scored(_setup(policy, reward_model), _answers(policy, "aaaaaaaa"))
    assert scored.totals[0] >= 1
    assert scored.correct == [False] and scored.accuracy is None


def test_a_response_on_which_a_rule_failed_is_not_judged(policy: Policy, reward_model: str) -> None:
    setup = _setup(policy, reward_model, REWARD, {"type": "math", "extract": "whole"})
    with RewardPool(setup.spec.rewards[1:]) as pool:
        setup.pool = pool
        rows = [{"prompt": "1:", "answer": "1"}, {"prompt": "1:"}]
        scored = score_responses(setup, rows, _answers(policy, "1", "1"))
    assert scored.scores[0].error is None and scored.totals[0] == scored.scores[0].parts["reward_model"] + 1
    assert scored.scores[1].error is not None and scored.judged == [True, False] and isnan(scored.totals[1])


def test_a_response_that_was_cut_off_is_scored_at_its_last_token(policy: Policy, reward_model: str) -> None:
    setup = _setup(policy, reward_model)
    (total,) = _scored(setup, _answers(policy, "aaaa", cut=True)).totals
    loaded = scorer.load(reward_model, "", setup.spec, policy.device)
    ids = policy.tokenizer("1:aaaa").input_ids
    with torch.no_grad():
        expected = loaded.head(loaded.policy.hidden(torch.tensor([ids]))[0, -1])
    assert total == pytest.approx(float(expected), abs=1e-5)


def _other_words(policy: Policy, folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer of the same texts whose ids are others."""
    core = json.loads(policy.tokenizer.backend_tokenizer.to_str())
    ids = core["model"]["vocab"]
    added = {token["content"] for token in core["added_tokens"]}
    letters = [token for token in ids if token not in added and len(token) == 1]
    for token, number in zip(letters, [ids[token] for token in reversed(letters)], strict=True):
        ids[token] = number
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(json.dumps(core)), pad_token="<pad>", eos_token="<eos>"
    )


@pytest.mark.parametrize("cut", [False, True])
def test_a_policy_with_other_tokens_is_scored_by_its_texts(
    policy: Policy, reward_model: str, tmp_path: Path, cut: bool
) -> None:
    texts = ("aabca", "DC7")
    expected = _scored(_setup(policy, reward_model), _answers(policy, *texts, cut=cut)).totals
    policy.tokenizer = _other_words(policy, tmp_path)
    assert policy.tokenizer("a").input_ids != load_policy("tiny", 0, policy.device, "fp32").tokenizer("a").input_ids
    assert _scored(_setup(policy, reward_model), _answers(policy, *texts, cut=cut)).totals == pytest.approx(expected)


def test_what_is_too_long_for_the_reward_model_loses_its_beginning(policy: Policy, reward_model: str) -> None:
    setup = _setup(policy, reward_model)
    long = Tokens([9] * 1020, policy.tokenizer("aaaa").input_ids + policy.stops[:1])
    responses = Responses([long], torch.zeros(1, 5), torch.zeros(()), [False])
    loaded = scorer.load(reward_model, "", setup.spec, policy.device)
    expected = loaded.scores([Tokens([9] * 1019, long.completion)], 8192)
    assert_close(torch.tensor(_scored(setup, responses).totals), expected)


def test_a_model_that_is_no_reward_model_is_refused(policy: Policy, tmp_path: Path) -> None:
    policy.model.save_pretrained(tmp_path)
    with pytest.raises(Invalid, match="no reward model") as refused:
        _setup(policy, str(tmp_path), {"type": "format"}, REWARD)
    assert refused.value.param == "rewards.1.model"


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_training_on_it_raises_the_score(
    assign: Callable[..., Assignment], reward_model: str, tmp_path: Path, algorithm: str
) -> None:
    for name, numbers in (("file-1", range(64)), ("file-2", range(64, 72))):
        rows = [json.dumps({"prompt": f"{number}:", "answer": ""}) + "\n" for number in numbers]
        (tmp_path / name).write_text("".join(rows))
    assignment = assign(
        algorithm,
        steps=10,
        rewards=[REWARD],
        optimizer={"learning_rate": 3e-3},
        dataset={"source": "file-1"},
        eval_dataset={"source": "file-2"},
        algorithm_changes={"prompts_per_step": 4, "num_generations": 8, "max_completion_length": 4},
    )
    assignment.models[NAME] = reward_model
    assignment.files = {name: str(tmp_path / name) for name in ("file-1", "file-2")}
    events = list(loop.run(assignment, lambda: None))
    steps = [event.metrics for event in events if isinstance(event, Step)]
    scores = [metrics["reward/reward_model"] for metrics in steps]
    assert scores == [metrics["policy/reward"] for metrics in steps]
    assert sum(scores[-3:]) / 3 > sum(scores[:2]) / 2 + 0.4
    assert not any(name.endswith("/accuracy") for metrics in steps for name in metrics)
    assert all(describe(name) for event in events if isinstance(event, Step | Evaluated) for name in event.metrics)
    before, after = [event.metrics for event in events if isinstance(event, Evaluated)]
    assert after["eval/reward"] > before["eval/reward"] and "eval/accuracy" not in after
    shown = next(event for event in events if isinstance(event, Sampled)).samples[0]
    assert shown.rewards == {"reward_model": shown.reward}
