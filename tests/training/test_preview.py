from collections.abc import Callable
from dataclasses import replace
from typing import Any

from worker.training import loop
from worker.training.events import Assignment, Previewed, PreviewRow, Saved, Started, decode, encode
from worker.training.preview import LONGEST_TEXT, MOST_SEGMENTS, preview
from worker.training.setup import Setup

Make = Callable[..., Setup]
CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TURNS = ("1+1?", "2", "and 3?", "5")


def _talk(contents: tuple[str, ...]) -> list[dict[str, str]]:
    roles = ["user", "assistant"] * len(contents)
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


def _preview(setup: Setup, *rows: dict[str, Any]) -> list[PreviewRow]:
    setup.policy.tokenizer.chat_template = CHAT
    return preview(replace(setup, rows=list(rows)))


def _shown(row: PreviewRow) -> list[str]:
    return [f"+{segment.text}" if segment.learned else segment.text for segment in row.segments]


def test_it_shows_which_texts_are_learned(setup: Make) -> None:
    made = setup("sft", algorithm_changes={"loss_on": "assistant"})
    (row,) = _preview(made, {"messages": _talk(TURNS)})
    assert _shown(row) == ["[user]1+1?<eos>[assistant]", "+2<eos>", "[user]and 3?<eos>[assistant]", "+5<eos>"]
    assert (row.row, row.learned_tokens, row.truncated) == (1, 4, False)
    assert row.tokens == len("[user]1+1?[assistant]2[user]and 3?[assistant]5") + 4


def test_it_shows_what_is_cut_off_and_not_what_is_dropped(setup: Make) -> None:
    rows = [{"prompt": "a" * 100, "completion": "b"}, {"prompt": "a", "completion": "b" * 100}]
    (row,) = _preview(setup("sft", algorithm_changes={"max_length": 32}), *rows)
    assert (row.row, row.tokens, row.truncated) == (2, 32, True)


def test_prompts_are_shown_as_the_policy_is_asked(setup: Make) -> None:
    (row,) = _preview(setup("grpo"), {"prompt": "1+1?", "answer": "2"})
    assert (_shown(row), row.learned_tokens) == (["[user]1+1?<eos>[assistant]"], 0)


def test_of_a_preference_both_answers_are_shown(setup: Make) -> None:
    rows = _preview(setup("reward_model"), *({"prompt": "q", "chosen": "a", "rejected": "b"} for _ in range(2)))
    assert [(row.row, row.side) for row in rows] == [(1, "chosen"), (1, "rejected"), (2, "chosen"), (2, "rejected")]
    assert _shown(rows[1]) == ["[user]q<eos>[assistant]b<eos>"]


def test_long_texts_are_shown_without_their_middle(setup: Make) -> None:
    made = setup("sft", algorithm_changes={"loss_on": "assistant"})
    (row,) = _preview(made, {"messages": _talk(("a", "b") * MOST_SEGMENTS)})
    assert _shown(row)[-1].startswith(" [... ") and len(row.segments) == MOST_SEGMENTS + 1
    (row,) = _preview(made, {"prompt": "q", "completion": "</think>" * 600})
    text = row.segments[1].text
    assert " [... 2,805 characters ...] " in text and len(text) < LONGEST_TEXT + 50


def test_a_job_says_it_once_before_its_first_step(assign: Callable[..., Assignment]) -> None:
    events = list(loop.run(assign("sft", steps=2), lambda: None))
    place = next(place for place, event in enumerate(events) if isinstance(event, Started))
    told = events[place + 1]
    assert isinstance(told, Previewed) and len(told.rows) == 3
    assert decode(encode(told)) == told
    saved = next(event for event in events if isinstance(event, Saved))
    again = loop.run(assign("sft", steps=2, resume_from=saved.directory), lambda: None)
    assert not any(isinstance(event, Previewed) for event in again)
