import torch

from worker.training.sequences.batching import MicroBatch, Tokens, lengths, micro_batches

CPU = torch.device("cpu")


def _row(prompt: int, completion: int, first: int = 1) -> Tokens:
    """A prompt that starts with `first`, and a completion, of so many tokens."""
    return Tokens([first, *range(50, 49 + prompt)], list(range(10, 10 + completion)))


def test_micro_batches_keep_to_the_budget_and_lose_no_row() -> None:
    sequences = [_row(prompt, completion, prompt) for prompt in (3, 5, 8) for completion in (1, 4, 9, 2)]
    for packing in (False, True):
        groups = micro_batches(sequences, range(12), 30, packing=packing)
        assert sorted(row for group in groups for row in group) == list(range(12))
        for group in groups:
            assert MicroBatch([sequences[row] for row in group], CPU).inputs(packing=packing).input_BL.numel() <= 30


def test_only_the_given_rows_are_batched() -> None:
    assert micro_batches([_row(2, 2)] * 4, [3, 1], 100) == [[1, 3]]


def test_a_row_beyond_the_budget_goes_alone() -> None:
    sequences = [_row(2, 3, first=1), _row(40, 3, first=2), _row(2, 3, first=3)]
    assert micro_batches(sequences, range(3), 10, packing=True) == [[1], [0, 2]]
    assert micro_batches(sequences, range(3), 1) == [[1], [0], [2]]


def test_without_packing_similar_lengths_go_together() -> None:
    sequences = [_row(4, 2, 1), _row(4, 20, 1), _row(4, 3, 2), _row(4, 19, 2)]
    assert micro_batches(sequences, range(4), 46) == [[1, 3], [2, 0]]


def test_with_packing_rows_of_one_prompt_go_together() -> None:
    sequences = [_row(10, 2, 1), _row(10, 20, 2), _row(10, 3, 2), _row(10, 19, 1)]
    assert micro_batches(sequences, range(4), 32, packing=True) == [[1, 2], [3, 0]]


def test_a_shared_prompt_counts_once() -> None:
    sequences = [_row(30, 5) for _ in range(4)]  # 30 + 4 * 4 tokens: the last of a completion is never read
    assert micro_batches(sequences, range(4), 46, packing=True) == [[0, 1, 2, 3]]
    assert len(micro_batches(sequences, range(4), 46)) == 4


def test_prompts_that_share_no_micro_batch_are_cut_only_if_they_must() -> None:
    three, two = [_row(10, 6, 1) for _ in range(3)], [_row(10, 6, 2) for _ in range(2)]
    assert micro_batches([*three, *two], range(5), 30, packing=True) == [[0, 1, 2], [3, 4]]
    assert micro_batches([*three, *two], range(5), 20, packing=True) == [[0, 1], [2], [3, 4]]


def test_a_packed_row_holds_prompts_once_and_knows_where_tokens_are_predicted() -> None:
    sequences = [Tokens([1, 2], [3, 4, 5]), Tokens([6], [7, 8]), Tokens([1, 2], [9]), Tokens([1, 2], [3, 8])]
    inputs = MicroBatch(sequences, CPU).packed
    assert inputs.input_BL.tolist() == [[1, 2, 3, 4, 3, 6, 7]]  # the prompt, what follows it, and the one that is alone
    assert inputs.state["position_ids"].tolist() == [[0, 1, 2, 3, 2, 0, 1]]
    assert inputs.position_BT.tolist() == [[1, 2, 3], [5, 6, 0], [1, 0, 0], [1, 4, 0]]


def test_a_padded_row_is_a_sequence() -> None:
    inputs = MicroBatch([Tokens([1, 2], [3, 4, 5]), Tokens([6], [7])], CPU).padded
    assert inputs.input_BL.tolist() == [[1, 2, 3, 4], [6, 0, 0, 0]]
    assert inputs.position_BT.tolist() == [[1, 2, 3], [0, 0, 0]]
    assert inputs.state == {}


def test_rows_stay_in_the_order_they_are_given() -> None:
    sequences = [Tokens([1], [7]), Tokens([2, 3], [4, 5]), Tokens([1], [8, 9])]
    batch = MicroBatch(sequences, CPU)
    assert batch.target_BT.tolist() == [[7, 0], [4, 5], [8, 9]]
    assert batch.mask_BT.tolist() == [[1, 0], [1, 1], [1, 1]]


def test_sequences_are_packed_only_where_that_leaves_clearly_fewer_tokens() -> None:
    even, uneven = [_row(5, 15, 1), _row(5, 15, 2)], [_row(5, 15, 1), _row(5, 5, 2)]
    assert not MicroBatch(even, CPU).inputs(packing=True).state
    assert MicroBatch(uneven, CPU).inputs(packing=True).state
    assert not MicroBatch(uneven, CPU).inputs(packing=False).state


def test_a_mask_within_the_completion_marks_what_counts() -> None:
    rows = [Tokens([1], [2, 3, 4], [True, False, True]), Tokens([1], [2, 3])]
    assert MicroBatch(rows, CPU).mask_BT.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert lengths(rows, CPU).tolist() == [2, 2]


def test_every_token_of_a_packed_row_has_a_place_of_its_own() -> None:
    packed = MicroBatch([_row(4, 3), _row(4, 1), _row(2, 6, 9), _row(4, 5)], CPU).packed
    layout = packed.state["layout"]
    assert len(set(layout.token_index.tolist())) == packed.input_BL.numel()
    assert layout.query_index[layout.token_index].tolist() == list(range(packed.input_BL.numel()))
