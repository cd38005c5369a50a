import string

import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.training.models import tiny

WORDS = tiny.build_tokenizer()


@given(st.text(alphabet=string.printable[:95] + "\n"))
def test_text_survives_encoding(text: str) -> None:
    assert WORDS.decode(WORDS(text)["input_ids"]) == text


def test_a_tag_is_one_token_and_survives_where_padding_and_eos_do_not() -> None:
    ids = WORDS("<think>1 + 1</think><answer>2</answer>")["input_ids"]
    assert len(ids) == 4 + 5 + 1
    shown = WORDS.decode([WORDS.pad_token_id, *ids, WORDS.eos_token_id], skip_special_tokens=True)
    assert shown == "<think>1 + 1</think><answer>2</answer>"


def test_a_letter_that_it_does_not_know_is_shown_as_unknown() -> None:
    assert WORDS.decode(WORDS("naïve")["input_ids"]) == "na\ufffdve"


def test_the_weights_are_a_function_of_the_seed_alone() -> None:
    state = torch.random.get_rng_state()
    one, again, other = (tiny.build(seed)[0].state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(weight, again[name]) for name, weight in one.items())
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_it_is_small() -> None:
    assert 300_000 < sum(weight.numel() for weight in tiny.build(0)[0].parameters()) < 2_000_000
