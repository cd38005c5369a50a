"""Single conversations through chat templates: all that a row gives is in its tokens, or the row is refused."""

from typing import Any

import pytest
from chat_styles import call, encoder, learned, said, tokenizer, tool
from transformers import PreTrainedTokenizerFast

from hone.errors import Invalid
from worker.training.data.control import ControlTokens
from worker.training.data.encode import Encoder
from worker.training.models import tiny
from worker.training.models.end_of_turn import end_of_turn
from worker.training.sequences.batching import Tokens

ASKED = said("user", "Weather in Oslo?")
CALLS = said("assistant", "", tool_calls=[call('{"city": "Oslo", "days": 2}')])
OUTPUT = said("tool", "rain", name="weather", tool_call_id="abcdefgh1")
ANSWER = said("assistant", "It rains.")
EVERY = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
TURN = "{% if add_generation_prompt %}[assistant]{% endif %}"


def _tiny(template: str) -> Encoder:
    words = tiny.build_tokenizer()
    words.chat_template = template
    return Encoder(words, "auto", "dataset")


def _refused(row: dict[str, Any], template: str, loss_on: Any = "completion") -> str:
    with pytest.raises(Invalid) as refusal:
        _tiny(template).encode_nonempty([row], 10_000, loss_on)
    assert refusal.value.param == "dataset"
    return refusal.value.message


def _whole(name: str, row: dict[str, Any]) -> str:
    (sequence,) = encoder(name).encode_nonempty([row], 10_000).sequences
    return str(tokenizer(name).decode([*sequence.prompt, *sequence.completion]))


@pytest.mark.parametrize("name", ["chatml", "gemma", "r1", "alpaca", "llama2"])
def test_where_the_template_has_no_form_for_calls_they_are_learned_in_tags_and_it_is_said(name: str) -> None:
    row = {"messages": [ASKED, CALLS], "tools": [tool()]}
    words = encoder(name)
    (sequence,) = words.encode_nonempty([row], 10_000).sequences
    learned_text = str(tokenizer(name).decode(sequence.completion))
    assert '<tool_call>{"name":"weather","arguments":{"city":"Oslo","days":2}}</tool_call>' in learned_text
    assert '"description": "where it is"' in str(tokenizer(name).decode(sequence.prompt))
    (warning,) = map(str, words.notes)
    assert warning.startswith("1 of 1 rows of dataset have tools, calls or outputs that the model's chat template")


@pytest.mark.parametrize("name", ["chatml", "silent_tools", "gemma", "llama2"])
def test_what_a_tool_answers_is_read_whatever_the_template(name: str) -> None:
    whole = _whole(name, {"messages": [ASKED, CALLS, OUTPUT, OUTPUT | {"content": "wind"}, ANSWER]})
    assert "<tool_response>rain</tool_response>\n<tool_response>wind</tool_response>" in whole
    assert whole.index("rain") < whole.index("It rains.")


@pytest.mark.parametrize("name", ["llama3", "mistral", "hermes", "qwen3", "glm", "opens_thoughts"])
def test_a_template_with_a_form_for_tools_writes_them_itself(name: str) -> None:
    words = encoder(name)
    (sequence,) = words.encode_nonempty(
        [{"messages": [ASKED, CALLS, OUTPUT, ANSWER], "tools": [tool()]}], 9999
    ).sequences
    whole = str(tokenizer(name).decode([*sequence.prompt, *sequence.completion]))
    assert not words.notes and "You may call these tools" not in whole
    assert all(part in whole for part in ("where it is", "Oslo", "rain", "It rains."))


@pytest.mark.parametrize(
    ("written", "lost"),
    [
        ("{{ m.content if m.role != 'system' }}", 1),
        ("{{ m.content if m.role != 'user' }}", 2),
        ("{{ m.content | truncate(3, True, '') }}", 2),
        ("{{ m.content | upper }}", 1),
        ("{{ m.content if loop.index < 3 }}", 3),
        ("{{ m.content | replace('rains', 'shines') }}", 3),
        ("{{ m.content.split('</think>')[0] }}", 3),
    ],
)
def test_a_text_that_the_template_leaves_out_is_refused_with_row_and_field(written: str, lost: int) -> None:
    template = EVERY.replace("{{ m.content }}", written) + TURN
    answer = said("assistant", "<think>Wet.</think>It rains.") if "think" in written else ANSWER
    message = _refused({"messages": [said("system", "Be kind"), ASKED, answer]}, template)
    assert message.startswith(f"dataset, row 1 loses 'content' of message {lost}, which the model's chat template")


@pytest.mark.parametrize(
    ("shown", "lost"),
    [
        ("{{ f.name }}({{ f.arguments.values() | list | tojson }})", "tool_calls[0].function.arguments.city"),
        ("{{ f.name }}({{ f.arguments.city }} city days)", "tool_calls[0].function.arguments.days"),
        ("{{ f.name }}(city days {{ f.arguments.days }})", "tool_calls[0].function.arguments.city"),
    ],
)
def test_an_argument_of_a_call_that_is_not_written_is_refused(shown: str, lost: str) -> None:
    probed = (
        f"{{% set f = c.function %}}{{% if f.arguments.zqKey %}}{{{{ f | tojson }}}}{{% else %}}{shown}{{% endif %}}"
    )
    calls = "{% for c in m.tool_calls or [] %}" + probed + "{% endfor %}"
    template = EVERY.replace("{{ eos_token }}", calls + "{{ eos_token }}") + TURN
    assert f"loses '{lost}' of message 2" in _refused({"messages": [ASKED, CALLS]}, template)
    goes_on = {"messages": [ASKED, CALLS, OUTPUT, said("assistant", "2 days: city Oslo")]}
    assert f"loses '{lost}' of message 2" in _refused(goes_on, template)  # though another message has the word


def test_a_part_of_a_tool_that_is_not_shown_is_refused() -> None:
    names = "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}"
    calls = EVERY.replace("{{ m.content }}", "{{ m.content }}{{ m.tool_calls | default([]) | tojson }}")
    row = {"messages": [ASKED, ANSWER], "tools": [tool()]}
    assert "row 1 loses 'tools[0].function.description'" in _refused(row, names + calls + TURN)


def test_a_tool_without_its_wrapping_is_shown_too() -> None:
    whole = _whole("glm", {"messages": [ASKED, CALLS], "tools": [tool()["function"]]})
    assert "## weather" in whole and "where it is" in whole


def test_a_template_that_writes_an_output_within_the_turn_that_called_is_refused() -> None:
    within = (
        "{% for m in messages if m.role != 'tool' %}[{{ m.role }}]{% for c in m.tool_calls or [] %}"
        "<tool_call>{{ c.function | tojson }}</tool_call>{% if not loop.last or messages[-1].role != 'assistant' or "
        "messages | length > 2 %}{% for o in messages if o.role == 'tool' %}({{ o.content }}){% endfor %}{% endif %}"
        "{% endfor %}{{ m.content }}{{ eos_token }}{% endfor %}"
    )
    row = {"messages": [ASKED, CALLS | {"content": "I look."}, OUTPUT, ANSWER]}
    assert "writes message 3 within message 2" in _refused(row, within + TURN, "assistant")
    (sequence,) = _tiny(within + TURN).encode_nonempty([row], 999).sequences
    assert tiny.build_tokenizer().decode(sequence.completion) == "It rains.<eos>"


def test_all_parts_of_a_content_are_there() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    row = {"messages": [said("user", "") | {"content": parts}, said("assistant", "") | {"content": parts}]}
    assert learned("chatml", row) == ["one two<|im_end|>"]
    assert _whole("chatml", row).count("one two") == 2


@pytest.mark.parametrize("name", ["chatml", "llama3", "mistral", "r1"])
def test_thoughts_in_a_field_are_written_into_the_content_where_the_template_has_no_form(name: str) -> None:
    words = encoder(name)
    (sequence,) = words.encode_nonempty([{"messages": [ASKED, ANSWER | {"reasoning_content": "Wet."}]}], 999).sequences
    text = str(tokenizer(name).decode(sequence.completion))
    assert text.lstrip().removeprefix("<think>\n").startswith("Wet.\n</think>\n\nIt rains.")
    (warning,) = map(str, words.notes)
    assert warning.startswith("1 of 1 rows of dataset have reasoning_content")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>\nWet.\n</think>\n\nIt rains.", "Wet.\n</think>\n\nIt rains."),
        ("<think>Wet.</think>It rains.", "Wet.</think>It rains."),
        ("<think>Wet.</think>", "Wet.</think>"),
        ("Wet.\n</think>\nIt rains.", "Wet.\n</think>\nIt rains."),
        ("It rains.", "\n</think>\n\nIt rains."),
    ],
)
def test_an_answer_stands_behind_the_open_thought_of_the_prompt_with_its_own_thoughts(content: str, text: str) -> None:
    (sequence,) = encoder("r1").encode_nonempty([{"messages": [ASKED, said("assistant", content)]}], 999).sequences
    words = tokenizer("r1")
    assert str(words.decode(sequence.prompt)).endswith("<｜Assistant｜><think>\n")
    assert words.decode(sequence.completion) == text + "<｜end▁of▁sentence｜>"


def test_qwen3_keeps_the_thoughts_behind_the_last_question_and_loses_those_before_with_a_word() -> None:
    earlier = [ASKED, ANSWER | {"reasoning_content": "First."}]
    row = {"messages": [*earlier, ASKED, CALLS | {"reasoning_content": "Look."}, OUTPUT, ANSWER], "tools": [tool()]}
    words = encoder("qwen3")
    assert learned("qwen3", row, "assistant") == [
        "It rains.<|im_end|>",
        '<think>\nLook.\n</think>\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}\n'
        "</tool_call><|im_end|>",
        "<think>\n\n</think>\n\nIt rains.<|im_end|>",
    ]
    words.encode_nonempty([row, {"messages": [ASKED, ANSWER]}], 9999)
    (warning,) = map(str, words.notes)
    assert warning.startswith("1 of 2 rows of dataset lose the thoughts of earlier turns")


def test_a_turn_of_glm_ends_where_the_next_header_begins() -> None:
    row = {"messages": [ASKED, CALLS, OUTPUT, ANSWER, ASKED, ANSWER]}
    assert learned("glm", row, "assistant") == [
        'weather\n{"city": "Oslo", "days": 2}<|observation|>',
        "It rains.<|user|>",
        "It rains.<|endoftext|>",
    ]


def test_a_header_that_opens_a_thought_is_not_learned_and_the_difference_is_told() -> None:
    words = encoder("opens_thoughts")
    row = {"messages": [ASKED, ANSWER, ASKED, ANSWER]}
    assert learned("opens_thoughts", row, "assistant") == ["It rains.<|im_end|>", "\n</think>\n\nIt rains.<|im_end|>"]
    words.encode_nonempty([row], 999, "assistant")
    assert "learned behind another beginning" in str(words.notes[0])


def test_a_header_that_differs_from_the_answers_own_in_a_line_is_no_second_thought() -> None:
    words = tokenizer("opens_thoughts")
    asks = str(words.chat_template).replace(
        "assistant\\n<think>\\n' }}{% endif", "assistant\\n<think>\\n\\n' }}{% endif"
    )
    assert asks != words.chat_template
    other = PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer, eos_token=words.eos_token)  # type: ignore[no-untyped-call]
    other.chat_template = asks
    row = {"messages": [ASKED, ANSWER | {"reasoning_content": "Wet."}]}
    (sequence,) = Encoder(other, "auto", "dataset").encode_nonempty([row], 999).sequences
    assert other.decode(sequence.completion) == "Wet.\n</think>\n\nIt rains.<|im_end|>"


@pytest.mark.parametrize(("content", "told"), [("    return x", 1), ("a\n", 1), ("a\n b", 0)])
def test_white_space_that_the_template_cuts_off_an_answer_is_told(content: str, told: int) -> None:
    for name, count in (("chatml", 0), ("llama3", told)):
        reads = encoder(name)
        reads.encode_nonempty([{"messages": [ASKED | {"content": " a "}, said("assistant", content)]}], 999)
        assert [warning[:40] for warning in map(str, reads.notes)] == [
            "1 of 1 rows of dataset have an answer tha"[:40]
        ] * count


def test_a_message_of_weight_0_is_read_and_not_learned() -> None:
    bad, good = said("assistant", "BAD", weight=0), said("assistant", "good", weight=1)
    row = {"messages": [ASKED, bad, ASKED, good]}
    assert learned("chatml", row, "assistant") == ["good<|im_end|>"]
    assert "BAD" in _whole("chatml", row) and "weight" not in _whole("chatml", row)
    assert "BAD" not in "".join(learned("chatml", row, "all"))
    assert any("good" in run for run in learned("chatml", row, "all"))
    assert learned("chatml", {"messages": [ASKED, good, ASKED, bad]}, "assistant") == ["good<|im_end|>"]
    with pytest.raises(Invalid, match="row 1 has weight 0 for all that loss_on completion learns"):
        learned("chatml", {"messages": [ASKED, good, ASKED, bad]})


def test_a_weight_of_1_that_does_not_act_is_told() -> None:
    words = encoder("chatml")
    words.encode_nonempty([{"messages": [ASKED, said("assistant", "a", weight=1), ASKED, ANSWER]}], 999)
    assert "1 of 1 rows of dataset have a message with weight 1 that is not learned" in str(words.notes[0])


def test_a_greeting_of_the_assistant_is_read_if_it_need_not_be_learned() -> None:
    messages = [said("assistant", "Hello!"), ASKED, ANSWER]
    assert learned("chatml", {"messages": messages}) == ["It rains.<|im_end|>"]
    messages[0]["weight"] = 0
    assert learned("chatml", {"messages": messages}, "assistant") == ["It rains.<|im_end|>"]
    with pytest.raises(Invalid, match=r"begins with the assistant, whom nobody has asked; .* or give it weight 0"):
        learned("chatml", {"messages": [said("assistant", "Hello!"), ASKED, ANSWER]}, "assistant")


@pytest.mark.parametrize("said_text", ["a</s>", "a</s>b", "</s>", "a</s></s> b"])
def test_a_text_with_the_end_in_it_is_learned_whole(said_text: str) -> None:
    row = {"messages": [ASKED, said("assistant", said_text), said("user", "</s>"), said("assistant", said_text)]}
    assert learned("alpaca", row, "assistant") == [f"{said_text}</s>"] * 2


def test_the_end_of_a_turn_is_a_stop_of_the_policy_though_it_is_not_eos() -> None:
    found = {name: tokenizer(name).convert_ids_to_tokens(end_of_turn(tokenizer(name)) or 0) for name in ENDS}
    assert found == ENDS


ENDS = {
    "chatml": "<|im_end|>",
    "marked": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
    "r1": "<｜end▁of▁sentence｜>",
    "glm": "<|user|>",
    "alpaca": "</s>",
    "channels": "<|return|>",
    "parts": "<|im_end|>",  # not what stands before it
}


def test_a_token_that_ends_a_turn_only_in_the_middle_is_no_stop() -> None:
    row = {"messages": [ASKED, ANSWER]}
    assert learned("channels", row) == ["<|channel|>final<|message|>It rains.<|return|>"]


class _Slow(PreTrainedTokenizerFast):
    """A tokenizer that does not say where its tokens stand."""

    @property
    def is_fast(self) -> bool:
        return False


@pytest.mark.parametrize("name", ["qwen3", "llama2", "mistral", "opens_thoughts"])
def test_a_tokenizer_without_offsets_gives_the_same_tokens(name: str) -> None:
    fast = tokenizer(name)
    slow = _Slow(tokenizer_object=fast.backend_tokenizer, eos_token=fast.eos_token, bos_token=fast.bos_token)  # type: ignore[no-untyped-call]
    slow.chat_template = fast.chat_template
    row = {"messages": [ASKED, ANSWER, ASKED, ANSWER]}
    sequences: list[list[Tokens]] = [
        Encoder(words, "auto", "dataset").encode_nonempty([row], 999, "assistant").sequences for words in (fast, slow)
    ]
    assert sequences[0] == sequences[1]


def test_a_template_that_looks_at_the_text_itself_is_refused_rather_than_guessed_at() -> None:
    picky = EVERY.replace("{{ m.content }}", "{{ m.content }}{% if m.content == 'It rains.' %}!{% endif %}") + TURN
    assert "in a form that depends on its texts" in _refused({"messages": [ASKED, ANSWER]}, picky)


def test_a_text_that_is_only_read_and_rewritten_is_told() -> None:
    flags = EVERY.replace("{{ m.content }}", "{{ m.content.replace('/no_think', '') }}") + TURN
    words = _tiny(flags)
    words.encode_nonempty([{"messages": [said("system", "Be kind. /no_think now"), ASKED, ANSWER]}], 999)
    assert "1 of 1 rows of dataset have a text that the model's chat template writes otherwise" in str(words.notes[0])


@pytest.mark.parametrize("name", ["hermes", "qwen3", "llama3", "chatml", "mistral", "silent_tools", "gemma"])
def test_turns_with_tools_are_trained_on_the_tokens_of_sampling(name: str) -> None:
    words = tokenizer(name)
    given = [tool()]
    asks = Encoder(words, "auto", "dataset", given)
    own = name not in ("hermes", "qwen3")
    turn = '<tool_call>{"name":"weather","arguments":{"city":"Oslo","days":2}}</tool_call>'
    if not own:
        turn = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>'
    thoughts = "<think>\nLook.\n</think>\n\n" if name == "qwen3" else ""
    (prompt,) = asks.prompts([{"prompt": [ASKED], "answer": ""}], 9999)
    output = asks.tool_output("rain", {"prompt": [ASKED]}, "weather")
    answered = [CALLS | ({"reasoning_content": "Look."} if thoughts else {}), OUTPUT, ANSWER]
    (trained,) = asks.encode_nonempty([{"prompt": [ASKED], "completion": answered}], 9999).sequences
    assert trained.prompt == prompt
    places = range(len(trained.completion) - len(output))
    (place,) = [n for n in places if trained.completion[n : n + len(output)] == output]
    assert str(words.decode(trained.completion[:place])).split("</think>\n\n")[-1].lstrip() == turn
    assert name != "qwen3" or "Look." in str(words.decode(trained.completion[:place]))
    assert "rain" in str(words.decode(output))
    assert bool(asks.notes) == own


def test_an_output_names_the_tool_that_was_called_and_may_hold_the_end_of_a_call() -> None:
    named = EVERY.replace(
        "{{ m.content }}",
        "{{ m.name }}: {{ m.content }}{% for c in m.tool_calls or [] %}"
        "<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}",
    )
    words = tiny.build_tokenizer()
    words.chat_template = "{{ tools | tojson if tools else '' }}" + named + TURN
    asks = Encoder(words, "auto", "dataset", [tool()])
    output = asks.tool_output("x</tool_call>y", {"prompt": "a"}, "weather")
    assert words.decode(output) == "<eos>[tool]weather: x</tool_call>y<eos>[assistant]"


@pytest.mark.parametrize("sampled", ["<think>a</think>b</think>It rains.", "</think>", "a<think>b", "<tool_response>x"])
@pytest.mark.parametrize("name", ["qwen3", "r1", "opens_thoughts", "llama3"])
def test_a_completion_that_was_sampled_is_learned_whatever_it_looks_like(name: str, sampled: str) -> None:
    words, reads = tokenizer(name), encoder(name)
    (sequence,) = reads.encode_nonempty([{"prompt": "Weather?", "completion": sampled}], 999).sequences
    assert reads.prompts([{"prompt": "Weather?"}], 999) == [sequence.prompt]
    text = str(words.decode([*sequence.prompt, *sequence.completion]))
    missing = [part for part in ("a", "b", "It rains.", "x") if part in sampled and part not in text]
    assert not missing and sequence.completion[-1] in ControlTokens(words).stops


def test_a_completion_that_the_template_rewrites_is_learned_as_it_is_and_it_is_said() -> None:
    reads = _tiny(EVERY.replace("{{ m.content }}", "{{ m.content if m.role == 'user' else m.content | upper }}") + TURN)
    (sequence,) = reads.encode_nonempty([{"prompt": "a", "completion": "It rains."}], 999).sequences
    assert tiny.build_tokenizer().decode(sequence.completion) == "It rains.<eos>"
    assert str(reads.notes[0]).startswith(
        "1 of 1 rows of dataset have a completion that the model's chat template does not"
    )


def test_the_output_of_a_tool_is_no_row_that_a_note_counts() -> None:
    asks = encoder("chatml")
    asks.tool_output("rain", {"prompt": "Weather?", "tools": [tool()]}, "weather")
    asks.prompts([{"prompt": "a"}, {"prompt": "b"}], 999)
    assert asks.notes == []
