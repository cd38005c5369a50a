"""Generated conversations through chat templates in the styles of real models: what is learned of them."""

from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest
from chat_styles import STYLES, Conversation, call, encoder, learned, said, stop_texts, tokenizer, tool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ANY_TEXT = st.text(st.sampled_from("ab 1.\n\"'{}\\äé😀<>/|"), max_size=12)


@st.composite
def conversations(draw: st.DrawFn, name: str) -> Conversation:
    """With a word in each text that no other text has."""
    messages: Conversation = []

    def text() -> str:
        return draw(st.sampled_from(["", " ", "\n"])) + f"Qz{len(messages)}z" + draw(ANY_TEXT)

    if STYLES[name].system and draw(st.booleans()):
        messages.append(said("system", text()))
    for _ in range(draw(st.integers(1, 3))):
        messages.append(said("user", text()))
        for _ in range(draw(st.integers(0, 2))):
            word = f"Qz{len(messages)}z"
            arguments = {f"key{word}": draw(st.one_of(ANY_TEXT, st.integers(), st.booleans(), st.none())), "w": word}
            given = dumps(arguments) if draw(st.booleans()) else arguments
            messages.append(said("assistant", "", tool_calls=[call(given)]))
            messages.append(said("tool", text(), name="weather", tool_call_id="abcdefgh1"))
        answer = said("assistant", text())
        match draw(st.sampled_from(["", "field", "content"])):
            case "field":
                answer["reasoning_content"] = f"thought {len(messages)} so"
            case "content":
                answer["content"] = f"<think>\nthought {len(messages)} so\n</think>\n\n{answer['content'].lstrip()}"
        if draw(st.booleans()):
            answer["weight"] = draw(st.integers(0, 1))
        messages.append(answer)
    messages[-1]["weight"] = 1
    return messages


def rows(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return conversations(name).map(
        lambda messages: (
            {"messages": messages} | ({"tools": [tool()]} if any("tool_calls" in m for m in messages) else {})
        )
    )


def answer_of(message: dict[str, Any]) -> str:
    return str(message["content"]).split("</think>")[-1].strip()


@pytest.mark.parametrize("name", STYLES)
def test_the_assistants_turns_are_learned_whole_each_with_its_end_and_nothing_else_is(name: str) -> None:
    check_learned_turns(name)


def check_learned_turns(name: str) -> None:
    @settings(deadline=None, derandomize=True, max_examples=30, suppress_health_check=list(HealthCheck))
    @given(row=rows(name))
    def holds(row: dict[str, Any]) -> None:
        messages = row["messages"]
        wanted = [n for n, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight") != 0]
        found = learned(name, row, "assistant")
        assert len(found) == len(wanted)
        for number, text in zip(wanted, found, strict=True):
            assert any(text.endswith(stop) for stop in stop_texts(name)), text
            assert STYLES[name].header not in text
            assert {word for word in words_of(messages) if word in text} == {f"Qz{number}z"}
            for part in said_by(messages[number], is_last=number == len(messages) - 1):
                assert any(
                    variant in text for variant in (part, dumps(part)[1:-1], dumps(part, ensure_ascii=False)[1:-1])
                )
        assert learned(name, row) == found[-1:]

    holds()


def words_of(messages: Conversation) -> Iterator[str]:
    return (f"Qz{number}z" for number in range(len(messages)))


def said_by(message: dict[str, Any], *, is_last: bool) -> Iterator[str]:
    """All that a turn must teach; of thoughts those of the last turn, since templates drop the others."""
    if message.get("content"):
        yield answer_of(message)
    if is_last and ("reasoning_content" in message or "</think>" in message["content"]):
        yield "thought"
        yield "</think>"
    for each in message.get("tool_calls", []):
        yield each["function"]["name"]
        yield "key"


@pytest.mark.parametrize("name", STYLES)
def test_a_prompt_in_training_is_the_prompt_of_sampling_with_one_beginning(name: str) -> None:
    @settings(deadline=None, derandomize=True, max_examples=15, suppress_health_check=list(HealthCheck))
    @given(row=rows(name))
    def holds(row: dict[str, Any]) -> None:
        (sequence,) = encoder(name).encode_nonempty([row], 10_000).sequences
        asked = {"prompt": row["messages"][:-1], "answer": "", "tools": row.get("tools")}
        assert encoder(name).prompts([asked], 10_000) == [sequence.prompt]
        bos = tokenizer(name).bos_token_id
        if bos is not None and name != "llama2":  # which begins each turn anew
            assert sequence.prompt.count(bos) == 1 and sequence.prompt[0] == bos
        assert sequence.loss_mask is None

    holds()
