"""Rewards, samples and tools read what the policy wrote, with the special tokens that mean something."""

from collections.abc import Callable

import pytest
import torch
from tokenizers import AddedToken

from worker.training.decoding.generate import Responses
from worker.training.experience.scoring import score_responses
from worker.training.models import tiny
from worker.training.models.end_of_turn import end_of_turn
from worker.training.models.policy import Policy
from worker.training.models.response_text import response_texts
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup

ANSWER = "<think>0 and 3</think><answer>3</answer>"
TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<|end|>{% endfor %}"


def _with_special_tags(policy: Policy) -> None:
    """As LinAlgZero's tokenizer has them."""
    tags = [AddedToken(tag, special=True, normalized=False) for tag in (*tiny.TAGS, "<tool_call>", "</tool_call>")]
    policy.tokenizer.add_tokens(tags, special_tokens=True)
    ids = policy.tokenizer(ANSWER).input_ids
    assert policy.tokenizer.decode(ids, skip_special_tokens=True) == "0 and 33"


def test_a_right_answer_between_special_tags_is_right_and_is_shown_with_them(
    make_setup: Callable[..., Setup],
) -> None:
    setup = make_setup("grpo", rewards=[{"type": "math"}, {"type": "format"}], samples_per_step=1)
    _with_special_tags(setup.policy)
    tokens = Tokens([1], [*setup.policy.tokenizer(ANSWER).input_ids, setup.policy.tokenizer.eos_token_id])
    responses = Responses([tokens], torch.zeros(1, 9), torch.zeros(()), [False])
    scored = score_responses(setup, [{"prompt": "0+3", "answer": "3"}], responses)
    assert scored.scores[0].parts == {"math": 1.0, "format": 1.0}
    assert [sample.response for sample in scored.samples("train", 1)] == [ANSWER]


@pytest.mark.parametrize("text", ["a<tool_call>{}</tool_call>", "<think>", ANSWER, " a ,b ."])
def test_only_what_ends_begins_or_fills_is_left_out(policy: Policy, text: str) -> None:
    _with_special_tags(policy)
    words = policy.tokenizer
    words.add_special_tokens({"bos_token": "<bos>"})
    ids = words(text, add_special_tokens=False).input_ids
    around = [words.bos_token_id, *ids, words.eos_token_id, words.pad_token_id]
    assert response_texts(policy, [ids, around, []]) == [text, text, ""]


def test_the_end_of_a_turn_in_the_chat_template_ends_a_response_and_is_not_read(policy: Policy) -> None:
    words = policy.tokenizer
    assert len(policy.stops) == 1
    words.add_tokens([AddedToken("<|end|>", special=True)], special_tokens=True)
    words.chat_template = TEMPLATE
    end = words.convert_tokens_to_ids("<|end|>")
    assert end_of_turn(words) == end and policy.stops == sorted([words.eos_token_id, end])
    assert response_texts(policy, [[*words("ab").input_ids, end]]) == ["ab"]
