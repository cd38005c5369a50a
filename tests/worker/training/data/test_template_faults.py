"""Chat templates with which a model would learn something that it never samples: they are refused with the reason."""

from typing import Any

import pytest

from hone.errors import Invalid
from worker.training.data.encode import Encoder
from worker.training.models import tiny

TURN = "[{{ m.role }}]{{ m.content }}{{ eos_token }}"
ASKS = "{% if add_generation_prompt %}[assistant]{% endif %}"
CALLS = "{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
FAULTS = {
    "no beginning of an answer": ("{% for m in messages %}" + TURN + "{% endfor %}", "writes '[assistant]' before"),
    "no beginning, and a separator": (
        "{% for m in messages %}{{ '' if loop.first else eos_token }}[{{ m.role }}]{{ m.content }}{% endfor %}",
        "writes '<eos>[assistant]' before",
    ),
    "another beginning": (
        "{% for m in messages %}" + TURN + "{% endfor %}{% if add_generation_prompt %}[bot]{% endif %}",
        "writes '[assistant]' before",
    ),
    "a stop before the calls": (
        "{% for m in messages %}" + TURN + CALLS + "{% endfor %}{{ tools | tojson if tools }}" + ASKS,
        "writes '<eos>', at which sampling stops, within message 2",
    ),
    "a stop behind the thoughts": (
        "{% for m in messages %}{{ '[' + m.role + ']' }}{% if m.reasoning_content %}<think>{{ m.reasoning_content }}"
        "</think>{{ eos_token }}{% endif %}{{ m.content }}{{ eos_token }}{% endfor %}" + ASKS,
        "writes '<eos>', at which sampling stops, within message 2",
    ),
    "a stop before the answer": (
        "{% for m in messages %}[{{ m.role }}]{{ eos_token if m.role == 'assistant' }}{{ m.content }}{{ eos_token }}"
        "{% endfor %}" + ASKS,
        "writes '<eos>', at which sampling stops, within message 2",
    ),
    "escaped texts": (
        "{% for m in messages %}[{{ m.role }}]{{ m.content | e }}{{ eos_token }}{% endfor %}" + ASKS,
        "loses",
    ),
}
CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


def conversation(template: str) -> list[dict[str, Any]]:
    answer: dict[str, Any] = {"role": "assistant", "content": "b < c"}
    if "tool_call" in template:
        answer["tool_calls"] = [CALL]
    if "reasoning" in template:
        answer["reasoning_content"] = "so"
    return [{"role": "user", "content": "a"}, answer]


def encoder(template: str) -> Encoder:
    words = tiny.build_tokenizer()
    words.chat_template = template
    return Encoder(words, "auto", "dataset")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("loss_on", ["completion", "assistant"])
def test_a_template_that_teaches_what_is_never_sampled_is_refused(fault: str, loss_on: Any) -> None:
    template, reason = FAULTS[fault]
    turns = conversation(template)
    for messages in (turns, [*turns, *turns]):
        with pytest.raises(Invalid) as refusal:
            encoder(template).encode([{"messages": messages}], 1000, loss_on, "end")
        assert refusal.value.message.startswith("dataset, row 1 ")
        assert reason.split("message 2")[0] in refusal.value.message


@pytest.mark.parametrize("fault", ["no beginning of an answer", "no beginning, and a separator", "another beginning"])
def test_a_completion_that_is_text_is_learned_where_sampling_begins(fault: str) -> None:
    """It is put behind the prompt of sampling as it is, which needs nothing of the template behind that."""
    reads = encoder(FAULTS[fault][0])
    (pair,) = reads.encode_nonempty([{"prompt": "a", "completion": "b"}], 1000).sequences
    assert pair.prompt == reads.prompts([{"prompt": "a"}], 100)[0]
    assert tiny.build_tokenizer().decode(pair.completion) == "b<eos>"


def test_a_turn_that_is_not_learned_may_be_as_it_is() -> None:
    template, _ = FAULTS["a stop before the calls"]
    turns = conversation(template)
    answered = [*turns, {"role": "tool", "content": "1"}, {"role": "assistant", "content": "d"}]
    (pair,) = encoder(template).encode_nonempty([{"messages": answered}], 1000).sequences
    assert tiny.build_tokenizer().decode(pair.completion) == "d<eos>"


def test_words_behind_the_end_of_a_turn_are_not_learned() -> None:
    template = "{% for m in messages %}" + TURN + "END{% endfor %}" + ASKS
    turns = conversation(template)
    (pair,) = encoder(template).encode_nonempty([{"messages": [*turns, *turns]}], 1000, "assistant").sequences
    learned = [token for token, mark in zip(pair.completion, pair.loss_mask or [], strict=True) if mark]
    assert tiny.build_tokenizer().decode(learned) == "b < c<eos>" * 2
