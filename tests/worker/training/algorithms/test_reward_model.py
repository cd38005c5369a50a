import json
import random
from collections.abc import Callable
from itertools import product
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from hone.errors import Invalid
from service.domain.metrics import describe
from service.domain.specs import JobSpec
from service.domain.supervised import RewardModelSpec
from worker.protocol import Assignment, Evaluated, Event, Failed, Sampled, Saved, Step
from worker.training import loop
from worker.training.algorithms.reward_model import PairLoss, RewardModeling, pair_losses
from worker.training.models import packing
from worker.training.models.policy import Policy
from worker.training.objectives.aggregate import Averages
from worker.training.sequences.batching import Tokens
from worker.training.setup import scorer
from worker.training.setup.job import Setup
from worker.training.setup.scorer import Scorer
from worker.training.updates.gradients import accumulate

Make = Callable[..., Setup]
CHAT = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def sorted_digits(count: int, seed: int) -> list[dict[str, Any]]:
    """Five digits in order are better than the same ones in disorder."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        digits = chance.choices("0123456789", k=5)
        shuffled = chance.sample(digits, k=5)
        if shuffled != sorted(digits):
            question = "".join(chance.sample(digits, k=5))
            rows.append(
                {"prompt": f"sort {question}=", "chosen": "".join(sorted(digits)), "rejected": "".join(shuffled)}
            )
    return rows


@pytest.fixture
def prepare(make_setup: Make) -> Make:
    """Makes what a reward model of given rows is given."""

    def make(rows: list[dict[str, Any]], **changes: Any) -> Setup:
        setup = make_setup("reward_model", **changes)
        setup.rows[:] = rows
        return setup

    return make


def _modeling(setup: Setup) -> RewardModeling:
    assert isinstance(setup.spec.algorithm, RewardModelSpec)
    return RewardModeling(setup, setup.spec.algorithm)


@pytest.fixture
def train(assign: Callable[..., Assignment], tmp_path: Path) -> Callable[..., list[Event]]:
    """Runs a whole job on sorted digits."""

    def run(count: int = 24, **changes: Any) -> list[Event]:
        files = {}
        for name, rows in (("file-1", sorted_digits(count, 0)), ("file-2", sorted_digits(200, 1))):
            files[name] = str(tmp_path / f"{name}.jsonl")
            Path(files[name]).write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources = {"dataset": {"source": "file-1"}, "eval_dataset": {"source": "file-2"}}
        assignment = assign("reward_model", **(sources | changes))
        assignment.files = files
        return list(loop.run(assignment, lambda: None))

    return run


def _scores(*rewards: float) -> torch.Tensor:
    return tensor(rewards, dtype=torch.float64)


def _loaded(folder: Path) -> Scorer:
    spec = JobSpec.model_validate({"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}})
    return scorer.load(str(folder), "rewards.0.model", spec, torch.device("cpu"))


def test_the_loss_by_hand() -> None:
    chosen, rejected, margin = _scores(1, 0, 2), _scores(-1, 0, 1), _scores(0, 0, 0.5)
    loss, values = pair_losses(chosen, rejected, margin, RewardModelSpec())
    assert_close(loss, _scores(log(1 + exp(-2)), log(2), log(1 + exp(-0.5))))
    assert_close(values["margin"], _scores(2, 0, 1))
    assert values["accuracy"].tolist() == [1, 0, 1]


def test_the_coefficient_pulls_the_sum_of_a_pairs_scores_to_zero() -> None:
    chosen, rejected = _scores(2).requires_grad_(), _scores(1).requires_grad_()
    loss, _ = pair_losses(chosen, rejected, _scores(0), RewardModelSpec(center_rewards_coefficient=0.1))
    assert_close(loss, _scores(0.1 * 9 + log(1 + exp(-1))))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    miss = 1 / (1 + exp(1))  # sigmoid(-1)
    assert_close(chosen.grad, _scores(0.2 * 3 - miss))
    assert_close(rejected.grad, _scores(0.2 * 3 + miss))


def test_a_rows_margin_wins_over_the_specs(prepare: Make) -> None:
    rows = sorted_digits(2, 0)
    rows[0]["margin"] = 0.0
    modeling = _modeling(prepare(rows, algorithm_changes={"margin": 1.0, "batch_size": 2}))
    loss = modeling.advance(0).metrics["train/loss"]  # all scores are 0 at first
    assert loss == pytest.approx((log(2) + log(1 + exp(1))) / 2, abs=1e-6)


def test_the_score_is_read_off_the_last_token_whatever_stands_beside_it(policy: Policy) -> None:
    reward_scorer = Scorer(policy)
    torch.nn.init.normal_(reward_scorer.head.weight, generator=torch.Generator().manual_seed(0))
    sequences = [Tokens([9, 8], [7, 6, 1]), Tokens([5], [4]), Tokens([9, 8], [3, 1])]
    with torch.no_grad():
        alone = [reward_scorer.head(policy.hidden(tensor([[*s.prompt, *s.completion]]))[0, -1]) for s in sequences]
    assert_close(reward_scorer.scores(sequences, 64), torch.cat(alone))
    policy = packing.enable_if_supported(policy)
    assert policy.packing
    assert_close(reward_scorer.scores(sequences, 64), torch.cat(alone))


def test_at_first_all_responses_score_zero_and_only_the_head_learns(prepare: Make) -> None:
    modeling = _modeling(prepare(sorted_digits(6, 0)))
    before = [weight.clone() for weight in modeling.scorer.backbone.parameters()]
    metrics = modeling.advance(0).metrics
    assert metrics["train/loss"] == pytest.approx(log(2)) and metrics["train/accuracy"] == 0
    assert all(map(torch.equal, before, modeling.scorer.backbone.parameters()))
    assert modeling.scorer.head.weight.any()
    modeling.advance(1)
    assert not all(map(torch.equal, before, modeling.scorer.backbone.parameters()))


def test_the_gradient_does_not_depend_on_micro_batches_and_packing(prepare: Make) -> None:
    rows = [*sorted_digits(5, 0), {"prompt": "a much longer question ", "chosen": "yes", "rejected": "no, never"}]
    spec, modeling = RewardModelSpec(center_rewards_coefficient=0.1), _modeling(prepare(rows))
    reward_scorer = modeling.scorer
    torch.nn.init.normal_(reward_scorer.head.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    assert packing.enable_if_supported(reward_scorer.policy).packing
    results = []
    for reward_scorer.policy.packing, budget in product((False, True), (16, 64, 128, 8192)):
        reward_scorer.zero_grad()
        averages = Averages()
        loss = accumulate(PairLoss(reward_scorer, modeling.pairs, spec), budget, averages)
        gradient = torch.cat(
            [weight.grad.flatten() for weight in reward_scorer.parameters() if weight.grad is not None]
        )
        results.append((loss, gradient, tensor(list(averages.read().values()))))
    for each in results[1:]:
        assert_close(each, results[0], rtol=0, atol=1e-6)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(int(metafunc.config.getoption("seeds"))))


def test_it_learns_to_rank_pairs_that_it_has_not_seen(train: Callable[..., list[Event]], seed: int) -> None:
    optimizer = {"learning_rate": 1e-3, "schedule": "linear", "warmup_steps": 5}
    events = train(200, algorithm_changes={"batch_size": 32}, steps=50, seed=seed, optimizer=optimizer)
    before, after = [event.metrics for event in events if isinstance(event, Evaluated)]
    assert before["eval/loss"] == pytest.approx(log(2), abs=1e-5)
    assert after["eval/accuracy"] > 0.95
    assert after["eval/margin"] > 1 and after["eval/loss"] < 0.3


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_resuming_ends_in_the_same_bits_as_never_stopping(
    train: Callable[..., list[Event]], lora: dict[str, Any] | None
) -> None:
    changes: dict[str, Any] = {"checkpoint": {"every": 2}, "evaluation": {"every": 2}, "lora": lora}
    whole = train(**changes)
    middle, end = [event for event in whole if isinstance(event, Saved)]
    rest = train(resume_from=middle.directory, **changes)
    _, again = [event for event in rest if isinstance(event, Saved)]
    files = list(Path(end.directory).rglob("*.safetensors"))
    assert len(files) == (3 if lora else 2)
    for file in files:
        assert file.read_bytes() == (Path(again.directory) / file.relative_to(end.directory)).read_bytes()
    ours, theirs = (torch.load(Path(saved.directory) / "trainer.pt")["optimizers"] for saved in (end, again))
    assert_close(ours, theirs, rtol=0, atol=0)
    for kind in (Step, Evaluated):
        before, after = ([_timeless(event) for event in events if isinstance(event, kind)] for events in (whole, rest))
        assert before[-len(after) :] == after and after


def _timeless(event: Step | Evaluated) -> dict[str, float]:
    return {name: value for name, value in event.metrics.items() if "time/" not in name and "per_second" not in name}


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_the_checkpoint_is_a_model_and_a_head_that_score_alike(
    train: Callable[..., list[Event]], lora: dict[str, Any] | None
) -> None:
    (saved,) = [event for event in train(steps=3, lora=lora) if isinstance(event, Saved)]
    folder = Path(saved.directory)
    model = AutoModelForCausalLM.from_pretrained(folder)
    head = load_file(folder / "reward_head.safetensors")
    assert {name: tuple(weight.shape) for name, weight in head.items()} == {"weight": (1, 96), "bias": (1,)}
    ids = [9, 8, 7, 6, 1]
    with torch.no_grad():
        expected = model.model(tensor([ids])).last_hidden_state[0, -1] @ head["weight"][0] + head["bias"][0]
    loaded = _loaded(folder)
    assert not any(weight.requires_grad for weight in loaded.parameters())
    assert_close(loaded.scores([Tokens(ids[:2], ids[2:])], 64), expected[None])


def test_an_output_projection_of_its_own_stays_as_it_is(prepare: Make) -> None:
    setup = prepare(sorted_digits(6, 0), optimizer={"learning_rate": 1e-3, "weight_decay": 0.5})
    model: Any = setup.policy.model
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    before = model.lm_head.weight.clone()
    _modeling(setup).advance(0)
    assert torch.equal(model.lm_head.weight, before) and model.lm_head.weight.grad is None


def test_what_a_template_puts_behind_the_answer_is_not_read(prepare: Make) -> None:
    say = {"role": "user", "content": "hi"}
    answers = {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    shapes = [
        {"prompt": "hi", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": [say], **answers},
        {name: [say, *answer] for name, answer in answers.items()},
    ]
    setup = prepare(shapes)
    tokenizer = setup.policy.tokenizer
    tokenizer.chat_template = CHAT
    read = [tokenizer.decode([*pair.chosen.prompt, *pair.chosen.completion]) for pair in _modeling(setup).pairs]
    assert read == ["<user>hi<eos>\n<assistant>chosen<eos>"] * 3


def test_pairs_that_are_too_long_are_cut_dropped_or_refused_as_the_spec_says(
    prepare: Make,
) -> None:
    rows = [*sorted_digits(2, 0), {"prompt": "p" * 20, "chosen": "c" * 20, "rejected": "r"}]
    limits = {"truncation": "drop", "max_length": 24}
    setup = prepare(rows, algorithm_changes=limits)
    assert len(_modeling(setup).pairs) == 2
    [note] = setup.notes
    assert note.message == "1 of 3 rows of dataset are longer than max_length allows (24 tokens): 1 are dropped"
    cut = _modeling(prepare(rows, algorithm_changes=limits | {"truncation": "end"})).pairs[2]
    assert [len(sequence.completion) for sequence in (cut.chosen, cut.rejected)] == [4, 2]
    with pytest.raises(Invalid, match="dataset, row 3 has 41 tokens"):
        _modeling(prepare(rows, algorithm_changes=limits | {"truncation": "refuse"}))
    with pytest.raises(Invalid, match="nothing of dataset fits into 8 tokens; raise algorithm"):
        _modeling(prepare(rows, algorithm_changes=limits | {"max_length": 8}))


def test_held_out_pairs_are_shown_with_their_scores(train: Callable[..., list[Event]]) -> None:
    shown = [event for event in train(steps=1, samples_per_step=4) if isinstance(event, Sampled)][-1].samples
    assert [list(sample.rewards) for sample in shown] == [["chosen"], ["rejected"]] * 2
    assert shown[0].prompt == shown[1].prompt and shown[0].response == "".join(sorted(shown[1].response))
    assert not any(sample.truncated for sample in shown)


def test_every_metric_has_an_entry_in_the_table(train: Callable[..., list[Event]]) -> None:
    names = {name for event in train(steps=1) if isinstance(event, Step | Evaluated) for name in event.metrics}
    assert {"train/accuracy", "train/margin", "eval/accuracy", "eval/margin", "eval/loss"} < names
    assert {name for name in names if describe(name) is None} == set()


def test_nan_stops_at_once_and_names_the_layer(
    train: Callable[..., list[Event]], policy: Policy, tmp_path: Path
) -> None:
    with torch.no_grad():
        policy.model.get_parameter("model.norm.weight").fill_(3e38)  # finite: NaN is refused when it is loaded
    policy.model.save_pretrained(tmp_path / "broken")
    policy.tokenizer.save_pretrained(tmp_path / "broken")
    failed = train(model_path=str(tmp_path / "broken"), eval_dataset=None)[-1]
    assert isinstance(failed, Failed) and failed.category == "nan"
    assert failed.message == "train/loss became nan in step 1, first in backbone.norm"


def test_memory_that_runs_out_halves_the_micro_batches_and_repeats_the_step(
    prepare: Make,
) -> None:
    rows = sorted_digits(6, 0)
    expected = _modeling(prepare(rows)).advance(0).metrics
    setup = prepare(rows)
    modeling, asked = _modeling(setup), []

    def forget(module: torch.nn.Module, arguments: Any) -> None:
        asked.append(arguments)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("out of memory")

    modeling.scorer.register_forward_pre_hook(forget)
    again = modeling.advance(0).metrics
    assert {name: again[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert setup.notes[0].code == "out_of_memory"


def test_a_folder_without_a_head_is_refused(policy: Policy, tmp_path: Path) -> None:
    policy.model.save_pretrained(tmp_path)
    with pytest.raises(Invalid, match="no reward model: it has no reward_head") as refused:
        _loaded(tmp_path)
    assert refused.value.param == "rewards.0.model"


def test_rows_without_pairs_are_refused(prepare: Make) -> None:
    with pytest.raises(Invalid, match="row 1 has `prompt`; reward_model needs `chosen` \\+ `rejected`"):
        _modeling(prepare([{"prompt": "a"}]))
