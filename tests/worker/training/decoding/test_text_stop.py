from typing import Any

import pytest
import torch

from worker.training.decoding.generate import Responses, RowSampling, Sampling, generate
from worker.training.decoding.text_stop import NEVER, TextStop
from worker.training.models.policy import Policy

TEXTS = ["det [[1,2],[3,4]]", "trace [[5]]"]


def _prompts(policy: Policy) -> list[list[int]]:
    return [policy.tokenizer(text)["input_ids"] for text in TEXTS]


def _completions(responses: Responses) -> list[list[int]]:
    return [sequence.completion for sequence in responses.sequences]


def _first_end(policy: Policy, ids: list[int], text: str) -> int:
    """How many tokens it takes until the text is there; all if it never is."""
    words: Any = policy.tokenizer
    return next((count for count in range(1, len(ids) + 1) if text in words.decode(ids[:count])), len(ids))


@pytest.mark.parametrize("places", [(3, 6), (6, 9), (14, 18), (21, 23)])
def test_a_response_ends_with_the_first_token_by_which_the_text_is_there(
    policy: Policy, places: tuple[int, int]
) -> None:
    sampling = Sampling(23, generations=3, seed=4)
    plain = generate(policy, _prompts(policy), sampling)
    stop = str(policy.tokenizer.decode(_completions(plain)[1][slice(*places)]))
    stopped = generate(policy, _prompts(policy), sampling._replace(stop=stop))
    ends = [_first_end(policy, ids, stop) for ids in _completions(plain)]
    assert ends[1] <= places[1]
    assert _completions(stopped) == [ids[:end] for ids, end in zip(_completions(plain), ends, strict=True)]
    assert [not cut for cut in stopped.truncated] == [
        stop in str(policy.tokenizer.decode(ids)) or not cut
        for ids, cut in zip(_completions(plain), plain.truncated, strict=True)
    ]
    for row, end in enumerate(ends):
        torch.testing.assert_close(stopped.logp_BC[row, :end], plain.logp_BC[row, :end], atol=1e-5, rtol=0)


def test_the_size_of_the_batch_changes_no_end(policy: Policy) -> None:
    sampling = Sampling(23, generations=4, seed=4, stop="e")
    whole = generate(policy, _prompts(policy), sampling)
    assert _completions(generate(policy, _prompts(policy), sampling, 3)) == _completions(whole)
    assert len({len(ids) for ids in _completions(whole)}) > 1


def test_a_text_is_found_across_looks_and_only_its_first_time_counts(policy: Policy) -> None:
    words: Any = policy.tokenizer
    ids: list[int] = words("ab</tool_call>c</tool_call>")["input_ids"]
    token_BC = torch.tensor([ids, ids[::-1]])
    stop = TextStop(words, "</tool_call>", 2)
    ended = [stop.scan(token_BC, torch.arange(2), length, 8).tolist() for length in range(8, len(ids), 8)]
    assert ended == [[False, False], [True, False], [True, False]]
    assert stop.end == [14, NEVER]


def test_rows_with_numbers_and_limits_of_their_own_say_the_beginning_of_what_they_would_say(policy: Policy) -> None:
    prompts = _prompts(policy)
    whole = [generate(policy, prompts, Sampling(12, seed=3, first_row=number)) for number in (40, 6)]
    rows = (RowSampling(40, 5), RowSampling(7, 12))
    own = generate(policy, prompts, Sampling(12, seed=3, rows=rows))
    assert _completions(own) == [_completions(whole[0])[0][:5], _completions(whole[1])[1]]
    assert own.truncated[0]
    assert generate(policy, prompts, Sampling(12, seed=3, rows=rows), 1).sequences == own.sequences
