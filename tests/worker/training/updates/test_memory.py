from collections.abc import Callable

import pytest
import torch
from torch import nn

from worker.training.algorithm import build
from worker.training.out_of_memory import is_out_of_memory
from worker.training.setup.job import Setup
from worker.training.updates.memory import Budget


def _narrow(model: nn.Module, tokens: int) -> None:
    """Make a model run out of memory above some tokens."""

    def refuse(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        shown = kwargs.get("input_ids")
        if torch.is_grad_enabled() and shown is not None and shown.numel() > tokens:
            raise torch.OutOfMemoryError("tried to allocate more than there is")

    model.base_model.register_forward_pre_hook(refuse, with_kwargs=True)  # type: ignore[union-attr]


@pytest.mark.parametrize("algorithm", ["sft", "grpo", "ppo"])
def test_a_step_that_does_not_fit_is_repeated_in_smaller_pieces_with_the_same_result(
    make_setup: Callable[..., Setup], algorithm: str
) -> None:
    roomy, narrow = make_setup(algorithm, packing=False), make_setup(algorithm, packing=False)
    _narrow(narrow.policy.model, 100)
    ours, theirs = build(narrow).advance(0).metrics, build(roomy).advance(0).metrics
    assert narrow.tokens.size < roomy.tokens.size
    assert narrow.notes[0].message.startswith(
        "memory ran out: the step is repeated, from now on with at most 4,096 tokens"
    )
    for name, value in theirs.items():
        if "time/" not in name:
            assert ours[name] == pytest.approx(value, abs=2e-5), name
    for mine, other in zip(narrow.policy.model.parameters(), roomy.policy.model.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=2e-3)  # Adam's first steps divide tiny gradients by themselves


def test_what_fits_in_no_piece_is_given_up(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("sft", packing=False)
    _narrow(setup.policy.model, 1)
    algorithm = build(setup)
    with pytest.raises(torch.OutOfMemoryError):
        algorithm.advance(0)
    assert setup.tokens.size == 64


def test_the_gradient_of_a_failed_attempt_is_forgotten(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("sft")
    learner = setup.learner()
    weight = next(iter(learner.module.parameters()))
    failed: list[int] = []

    def gather(size: int) -> torch.Tensor:
        assert weight.grad is not None
        assert not weight.grad.any()
        weight.grad += 1
        if not failed:
            failed.append(size)
            raise MemoryError
        return torch.tensor(float(size))

    assert setup.tokens.run(gather, undo=learner.clear) == 4096
    assert failed == [8192]


def test_the_allocators_error_counts_and_others_do_not() -> None:
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        Budget(8, 1, "rows", "micro_batch_tokens", print).run(_break)


def _break(size: int) -> None:
    raise RuntimeError("shapes differ")


def test_responses_are_decoded_in_smaller_batches_with_the_same_tokens(make_setup: Callable[..., Setup]) -> None:
    whole, cut = make_setup("grpo"), make_setup("grpo", rollout_batch_size=3)
    ours, theirs = build(cut).advance(0), build(whole).advance(0)
    assert [sample.response for sample in ours.samples] == [sample.response for sample in theirs.samples]
    assert ours.metrics["policy/reward"] == theirs.metrics["policy/reward"]
