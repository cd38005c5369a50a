from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from hone.errors import Invalid
from worker.training.data.control import ControlTokens
from worker.training.data.encode import Encoder
from worker.training.models import tiny
from worker.training.sequences.batching import Tokens

CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for call in m.tool_calls or [] %}({{ call.function.name }}{{ call.function.arguments | tojson }}){% endfor %}"
    "{{ eos_token }}{% endfor %}"
    "{% if tools %}{{ tools[0].function.name }}{% endif %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
MARKED = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}!"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""It has no token that ends a turn."""
FORGETFUL = (  # as Qwen 3: what was thought before the last question is gone
    "{% for m in messages %}[{{ m.role }}]"
    "{{ m.content if loop.last else m.content.split('</think>')[-1] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TURNS = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
TEXT = st.text(st.sampled_from(tiny.CHARACTERS), min_size=1, max_size=20)


def _words(template: str | None = None) -> PreTrainedTokenizerFast:
    words = tiny.build_tokenizer()
    words.chat_template = template
    return words


def _conversation(*turns: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


def _pair(template: str | None, row: dict[str, Any], **options: Any) -> Tokens:
    (pair,) = Encoder(_words(template), "auto", "dataset").encode_nonempty([row], 1000, **options).sequences
    return pair


def _learned(template: str | None, row: dict[str, Any], loss_on: str) -> list[str]:
    """The texts that are learned, hole by hole."""
    words, pair = _words(template), _pair(template, row, loss_on=loss_on)
    marks = pair.loss_mask or [True] * len(pair.completion)
    assert len(marks) == len(pair.completion)
    texts = (str(words.decode([token])) if mark else "\0" for token, mark in zip(pair.completion, marks, strict=True))
    return [text for text in "".join(texts).split("\0") if text]


def _refused(call: Callable[[], Any]) -> str:
    with pytest.raises(Invalid) as refusal:
        call()
    assert refusal.value.param
    return refusal.value.message


def test_completions_end_with_eos_and_lose_their_end_when_too_long() -> None:
    words = _words()
    encoder = Encoder(words, "auto", "dataset")
    row = {"prompt": "ab", "completion": "<think>c</think>"}
    (whole,) = encoder.encode_nonempty([row], 100).sequences
    assert whole.prompt == words("ab")["input_ids"]
    assert whole.completion == [*words("<think>c</think>")["input_ids"], words.eos_token_id]
    assert encoder.encode_nonempty([row], 4).sequences[0].completion == whole.completion[:2]


def _with_ends(template: str) -> PreTrainedTokenizerFast:
    """A tokenizer that puts tokens around each text, `$A`, as `add_bos_token` and `add_eos_token` do."""
    words = tiny.build_tokenizer()
    words.add_special_tokens({"bos_token": "<bos>"})
    special = [(token, words.convert_tokens_to_ids(token)) for token in ("<bos>", "<eos>")]
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return words


@pytest.mark.parametrize("ends", ["$A", "<bos> $A", "$A <eos>", "<bos> $A <eos>"])
def test_a_plain_prompt_ends_where_sampling_begins_and_has_one_beginning(ends: str) -> None:
    words, rows = _with_ends(ends), [{"prompt": text, "completion": "c"} for text in ("ab", "<bos>ab", "ab<eos>b")]
    encoder = Encoder(words, "auto", "dataset")
    prompts = encoder.prompts(rows, 100)
    bos = "<bos>" * ends.startswith("<bos>")
    assert [words.decode(prompt) for prompt in prompts] == [f"{bos}ab", "<bos>ab", f"{bos}ab<eos>b"]
    pairs = encoder.encode_nonempty(rows, 100).sequences
    assert [pair.prompt for pair in pairs] == prompts
    assert {str(words.decode(pair.completion)) for pair in pairs} == {"c<eos>"}
    (text,) = encoder.encode_nonempty([{"text": "<bos>ab"}], 100, "all").sequences
    assert words.decode([*text.prompt, *text.completion]) == "<bos>ab<eos>"


@pytest.mark.parametrize(
    ("completion", "learned"), [("c<eos>", "c<eos>"), ("c<eos>d", "c<eos>d<eos>"), ("<eos>c", "<eos>c<eos>")]
)
def test_a_plain_completion_ends_with_one_end_wherever_else_it_has_some(completion: str, learned: str) -> None:
    assert _words().decode(_pair(None, {"prompt": "ab", "completion": completion}).completion) == learned
    whole = _pair(None, {"text": completion}, loss_on="all")
    assert _words().decode([*whole.prompt, *whole.completion]) == learned


def test_a_text_ends_with_a_stop_of_the_model_where_its_tokenizer_has_no_end() -> None:
    words = _words()
    words.eos_token = None
    row = {"prompt": "ab", "completion": "c"}
    (pair,) = Encoder(words, "auto", "dataset", control=ControlTokens(words, [5])).encode_nonempty([row], 100).sequences
    assert pair.completion == [*words("c").input_ids, 5]


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    encoder = Encoder(_words(), "auto", "dataset")
    assert "row 1 has a prompt of 5 tokens" in _refused(lambda: encoder.prompts([{"prompt": "abcde"}], 5))
    assert "empty prompt" in _refused(lambda: encoder.prompts([{"prompt": ""}], 5))


def test_messages_are_written_with_the_models_template_and_the_last_turn_is_learned() -> None:
    words, pair = _words(CHAT), _pair(CHAT, {"messages": _conversation(*TURNS)})
    assert words.decode(pair.prompt) == "[user]a<eos>[assistant]b<eos>[user]c<eos>[assistant]"
    assert words.decode(pair.completion) == "d<eos>"


def test_plain_prompts_become_messages_unless_the_template_is_text() -> None:
    words, row = _words(CHAT), {"prompt": "a", "completion": "b"}
    shown = {
        template: words.decode(Encoder(words, template, "dataset").prompts([row], 100)[0])
        for template in ("auto", "text")
    }
    assert shown == {"auto": "[user]a<eos>[assistant]", "text": "a"}
    assert words.decode(_pair(CHAT, row).completion) == "b<eos>"


def test_a_prompt_may_be_a_conversation() -> None:
    words, prompt = _words(CHAT), _conversation(("system", "s"), ("user", [{"type": "text", "text": "a"}]))
    (ids,) = Encoder(words, "text", "dataset").prompts([{"prompt": prompt}], 100)
    assert words.decode(ids) == "[system]s<eos>[user]a<eos>[assistant]"
    for completion in ("b", _conversation(("assistant", "b"))):
        pair = _pair(CHAT, {"prompt": prompt, "completion": completion})
        assert (pair.prompt, words.decode(pair.completion)) == (ids, "b<eos>")


def test_a_chat_needs_a_template_and_an_assistant() -> None:
    message = _refused(lambda: Encoder(_words(), "chat", "dataset"))
    assert message.startswith("dataset.template is chat")
    row = {"messages": _conversation(("user", "a"))}
    assert "no chat template" in _refused(lambda: _pair(None, row))
    assert "role 'assistant'" in _refused(lambda: _pair(CHAT, row))
    assert "begins with the assistant" in _refused(lambda: _pair(CHAT, {"messages": _conversation(("assistant", "a"))}))


def test_every_turn_of_the_assistant_is_learned_and_no_other() -> None:
    row = {"messages": _conversation(("system", "s"), *TURNS)}
    assert _learned(CHAT, row, "assistant") == ["b<eos>", "d<eos>"]
    assert _learned(CHAT, row, "completion") == ["d<eos>"]


def test_a_turn_whose_end_the_template_does_not_mark_is_learned_with_its_end() -> None:
    outside = MARKED.replace("{% endif %}{% endfor %}", "{% endif %}{{ eos_token }}{% endfor %}")
    row = {"messages": _conversation(*TURNS)}
    assert _learned(outside, row, "assistant") == ["b!<eos>", "d!<eos>"]


def test_a_turn_behind_which_nothing_stops_can_only_be_learned_where_it_is_the_last_one() -> None:
    row = {"messages": _conversation(*TURNS)}
    assert _learned(MARKED, row, "completion") == ["d!<eos>"]
    message = _refused(lambda: _pair(MARKED, row, loss_on="assistant"))
    assert "writes no token behind message 2 at which sampling stops" in message
    assert "set algorithm.loss_on to completion" in message


def test_calls_of_tools_are_learned_and_their_answers_are_not() -> None:
    call = {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    talk = [*_conversation(("user", "u")), call, *_conversation(("tool", "t"), ("assistant", "d"))]
    row = {"messages": talk, "tools": [{"name": "T"}]}
    assert _learned(CHAT, row, "assistant") == ['(f{"a": 1})<eos>', "d<eos>"]
    (ids,) = Encoder(_words(CHAT), "auto", "dataset").prompts([{"prompt": talk[:1], "tools": row["tools"]}], 100)
    assert _words().decode(ids) == "[user]u<eos>T[assistant]"


def test_a_template_that_joins_arguments_to_text_gets_them_as_json() -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}
    for joined in (
        "{{ call.function.name + call.function.arguments }}",
        "{{ call.function.name }}{{ call.function.arguments }}",
    ):
        joins = CHAT.replace("{{ call.function.name }}{{ call.function.arguments | tojson }}", joined)
        row = {"messages": [*_conversation(("user", "u")), call]}
        assert _learned(joins, row, "completion") == ['(f{"a": 1})<eos>']


def test_an_earlier_turn_is_learned_as_the_template_finally_writes_it_and_lost_thoughts_are_told() -> None:
    rows = [
        {"messages": _conversation(*TURNS)},
        {"messages": _conversation(("user", "a"), ("assistant", "<think>b</think>c"), *TURNS[2:])},
    ]
    encoder = Encoder(_words(FORGETFUL), "auto", "dataset")
    _, second = encoder.encode_nonempty(rows, 1000, loss_on="assistant").sequences
    assert str(_words().decode([*second.prompt, *second.completion])).startswith("[user]a<eos>[assistant]c<eos>[user]c")
    assert _learned(FORGETFUL, rows[1], "assistant") == ["c<eos>", "d<eos>"]
    (warning,) = map(str, encoder.notes)
    assert warning.startswith("1 of 2 rows of dataset lose the thoughts of earlier turns")


def test_a_template_that_ends_the_last_turn_with_its_own_token_can_be_learned() -> None:
    once = "{% for m in messages %}[{{ m.role }}]{{ m.content }}.{% endfor %}"
    ending = once + "{% if add_generation_prompt %}[assistant]{% else %}{{ eos_token }}{% endif %}"
    assert _learned(ending, {"messages": _conversation(*TURNS)}, "completion") == ["d.<eos>"]


def test_what_a_template_refuses_names_the_row() -> None:
    strict = "{{ raise_exception('no system role') }}"
    row = {"messages": _conversation(*TURNS)}
    assert "row 1 is refused by the model's chat template: no system role" in _refused(lambda: _pair(strict, row))
    assert "row 1 is refused" in _refused(
        lambda: Encoder(_words(strict), "auto", "dataset").prompts([{"prompt": "a"}], 9)
    )


def test_with_all_each_token_but_the_first_is_learned() -> None:
    words = _words()
    ab = _pair(None, {"prompt": "ab", "completion": "c"}, loss_on="all")
    assert (words.decode(ab.prompt), words.decode(ab.completion), ab.loss_mask) == ("a", "bc<eos>", None)
    assert _pair(None, {"text": "abc"}, loss_on="all") == ab
    chat = _pair(CHAT, {"messages": _conversation(*TURNS[:2])}, loss_on="all")
    assert (words.decode(chat.prompt), words.decode(chat.completion)) == ("[", "user]a<eos>[assistant]b<eos>")


def test_plain_text_is_learned_whole_or_refused() -> None:
    message = _refused(lambda: _pair(None, {"text": "abc"}))
    assert message == "dataset, row 1 is plain text, all of which is learned; set loss_on to all, not completion"
    assert "nothing to learn" in _refused(lambda: _pair(None, {"text": ""}, loss_on="all"))


def test_an_empty_prompt_is_refused_where_it_must_predict_the_completion() -> None:
    row = {"prompt": "", "completion": "ab"}
    assert "empty prompt" in _refused(lambda: _pair(None, row))
    assert len(_pair(None, row, loss_on="all").completion) == 2


@settings(deadline=None, derandomize=True)
@given(prompt=TEXT, completion=TEXT, limit=st.integers(8, 50), chat=st.booleans())
def test_the_mask_never_includes_the_prompt(prompt: str, completion: str, limit: int, chat: bool) -> None:
    words = WORDS[chat]
    encoder, row = Encoder(words, "auto", "dataset"), {"prompt": prompt, "completion": completion}
    asked = encoder.prompts([row], 1000)[0]
    answer = words(completion, add_special_tokens=False)["input_ids"] + [words.eos_token_id]
    for truncation in ("end", "start"):
        encoded = encoder.encode([row], limit, "completion", truncation)
        for pair in encoded.sequences:
            assert pair.loss_mask is None and pair.total <= limit
            kept = [*asked, *answer][-limit:] if truncation == "start" else [*asked, *answer][:limit]
            assert [*pair.prompt, *pair.completion] == kept
            assert len(pair.completion) == min(len(answer), limit - 1 if truncation == "start" else limit - len(asked))
        assert encoded.dropped == ([0] if truncation == "end" and len(asked) >= limit else [])


WORDS = [_words(), _words(CHAT)]
"""Made once: hypothesis asks a hundred times."""


@pytest.mark.parametrize(
    ("truncation", "kept", "dropped"),
    [
        ("end", ["ab|cde", "ab|c$"], [2]),
        ("start", ["b|cde$", "ab|c$", "6f|gh$"], []),
        ("drop", ["ab|c$"], [0, 2]),
    ],
)
def test_long_rows_are_treated_as_asked_and_counted(truncation: Any, kept: list[str], dropped: list[int]) -> None:
    rows = [
        {"prompt": "ab", "completion": "cde"},
        {"prompt": "ab", "completion": "c"},
        {"prompt": "123456f", "completion": "gh"},
    ]
    words = _words()
    encoded = Encoder(words, "auto", "dataset").encode_nonempty(rows, 5, truncation=truncation)
    shown = ["|".join(str(words.decode(ids)).replace("<eos>", "$") for ids in pair[:2]) for pair in encoded.sequences]
    assert (shown, encoded.too_long, encoded.dropped) == (kept, [0, 2], dropped)


def test_a_long_row_can_be_refused() -> None:
    message = _refused(lambda: _pair(None, {"prompt": "a", "completion": "b" * 1000}, truncation="refuse"))
    assert message.startswith(
        "dataset, row 1 has 1,002 tokens, more than max_length (1,000); raise algorithm.max_length"
    )


def test_when_all_rows_are_dropped_the_limit_is_named() -> None:
    encoder = Encoder(_words(), "auto", "dataset")
    with pytest.raises(Invalid, match="nothing of dataset fits into 5 tokens") as refusal:
        encoder.encode_nonempty([{"prompt": "abcdef", "completion": "g"}], 5)
    assert refusal.value.param == "algorithm.max_length"


@pytest.mark.parametrize("template", [None, CHAT], ids=["text", "chat"])
@pytest.mark.parametrize("loss_on", ["completion", "assistant", "all"])
def test_a_completion_of_one_message_reads_like_its_text(template: str | None, loss_on: str) -> None:
    as_message = {"prompt": "ab", "completion": _conversation(("assistant", "c"))}
    as_text = {"prompt": "ab", "completion": "c"}
    assert _pair(template, as_message, loss_on=loss_on) == _pair(template, as_text, loss_on=loss_on)
