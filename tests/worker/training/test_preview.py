from collections.abc import Callable
from dataclasses import replace
from typing import Any

from worker.protocol import Assignment, Previewed, PreviewRow, Saved, Started, decode, encode
from worker.training import loop
from worker.training.preview import MAX_SEGMENTS, MAX_TEXT, preview
from worker.training.setup.job import Setup

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


def test_it_shows_which_texts_are_learned(make_setup: Make) -> None:
    setup = make_setup("sft", algorithm_changes={"loss_on": "assistant"})
    (row,) = _preview(setup, {"messages": _talk(TURNS)})
    assert _shown(row) == ["[user]1+1?<eos>[assistant]", "+2<eos>", "[user]and 3?<eos>[assistant]", "+5<eos>"]
    assert (row.row, row.learned_tokens, row.truncated) == (1, 4, False)
    assert row.tokens == len("[user]1+1?[assistant]2[user]and 3?[assistant]5") + 4


def test_it_shows_what_is_cut_off_and_not_what_is_dropped(make_setup: Make) -> None:
    rows = [{"prompt": "a" * 100, "completion": "b"}, {"prompt": "a", "completion": "b" * 100}]
    (row,) = _preview(make_setup("sft", algorithm_changes={"max_length": 32}), *rows)
    assert (row.row, row.tokens, row.truncated) == (2, 32, True)


def test_prompts_are_shown_as_the_policy_is_asked(make_setup: Make) -> None:
    (row,) = _preview(make_setup("grpo"), {"prompt": "1+1?", "answer": "2"})
    assert (_shown(row), row.learned_tokens) == (["[user]1+1?<eos>[assistant]"], 0)


def test_of_a_preference_both_answers_are_shown(make_setup: Make) -> None:
    rows = _preview(make_setup("reward_model"), *({"prompt": "q", "chosen": "a", "rejected": "b"} for _ in range(2)))
    assert [(row.row, row.side) for row in rows] == [(1, "chosen"), (1, "rejected"), (2, "chosen"), (2, "rejected")]
    assert _shown(rows[1]) == ["[user]q<eos>[assistant]b<eos>"]


def test_long_texts_are_shown_without_their_middle(make_setup: Make) -> None:
    setup = make_setup("sft", algorithm_changes={"loss_on": "assistant"})
    (row,) = _preview(setup, {"messages": _talk(("a", "b") * MAX_SEGMENTS)})
    assert _shown(row)[-1].startswith(" [... ") and len(row.segments) == MAX_SEGMENTS + 1
    (row,) = _preview(setup, {"prompt": "q", "completion": "</think>" * 600})
    text = row.segments[1].text
    assert " [... 2,805 characters ...] " in text and len(text) < MAX_TEXT + 50


def test_a_job_says_it_once_before_its_first_step(assign: Callable[..., Assignment]) -> None:
    events = list(loop.run(assign("sft", steps=2), lambda: None))
    place = next(place for place, event in enumerate(events) if isinstance(event, Started))
    previewed = events[place + 1]
    assert isinstance(previewed, Previewed) and len(previewed.rows) == 3
    assert decode(encode(previewed)) == previewed
    saved = next(event for event in events if isinstance(event, Saved))
    again = loop.run(assign("sft", steps=2, resume_from=saved.directory), lambda: None)
    assert not any(isinstance(event, Previewed) for event in again)
