"""Responses with calls of tools: what they are made of, and how they end."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from service.domain.tools import ToolsSpec
from worker.training import loop
from worker.training.batching import Tokens
from worker.training.data import Row
from worker.training.encode import Encoder
from worker.training.evaluate import Evaluation
from worker.training.events import Assignment, Saved, Step
from worker.training.experience import Actor
from worker.training.logprobs import frozen_logprobs
from worker.training.models import Policy
from worker.training.rollout import Responses, Sampling
from worker.training.setup import Setup
from worker.training.tools.box import Toolbox
from worker.training.turns import Turns

Make = Callable[..., Setup]
Assign = Callable[..., Assignment]
ROW: Row = {"prompt": "trace [[1]]", "answer": "1"}
ANSWER = "<think>1</think><answer>1</answer><eos>"
CALLING = {"source": "linear-algebra", "style": "symbolic", "tools": True, "tasks": ["trace"], "dimension": 1}
WITH_TOOLS: dict[str, Any] = {
    "dataset": CALLING,
    "tools": {"max_turns": 2},
    "rewards": [{"type": "math"}, {"type": "format", "weight": 0.1}, {"type": "tool_use", "weight": 0.1}],
}
LONG = {"max_completion_length": 128}


def call(name: str = "matrix_trace", matrix: str = "[[1]]") -> str:
    return f'<think>a</think><tool_call>{{"name":"{name}","arguments":{{"matrix":{matrix}}}}}</tool_call>'


class Script:
    """Says given texts, one a turn, whatever it is asked; a text ends where the sampler would have ended it."""

    def __init__(self, policy: Policy, *turns: str) -> None:
        self.asked: list[list[list[int]]] = []
        self._words, self._turns = policy.tokenizer, list(turns)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self._words(text, add_special_tokens=False)["input_ids"]
        return ids

    def __call__(self, prompts: list[list[int]], how: Sampling) -> Responses:
        self.asked.append(prompts)
        assert how.stop == "</tool_call>"
        text = self._turns.pop(0)
        limits = [row.max_tokens for row in how.rows] or [how.max_tokens] * len(prompts)
        said = [self.ids(text)[:limit] for limit in limits]
        logp_BC = -torch.ones(len(prompts), max(map(len, said)))
        cut = [len(tokens) < len(self.ids(text)) for tokens in said]
        sequences = [Tokens(prompt, tokens) for prompt, tokens in zip(prompts, said, strict=True)]
        return Responses(sequences, logp_BC, torch.zeros(()), cut)


@pytest.fixture
def play(policy: Policy) -> Iterator[Callable[..., tuple[Responses, Script]]]:
    """Plays a script as the response to one prompt."""
    boxes: list[Toolbox] = []

    def run(*turns: str, tokens: int = 1000, deadline: float = 5.0, **spec: Any) -> tuple[Responses, Script]:
        boxes.append(Toolbox(ToolsSpec(**spec), deadline_seconds=deadline))
        encoder, script = Encoder(policy.tokenizer, "auto", "dataset"), Script(policy, *turns)
        prompts = encoder.prompts([ROW], 100)
        made = Turns(policy, encoder, boxes[-1], [ROW])
        return made.play(prompts, [ROW], Sampling(tokens), script), script

    yield run
    for box in boxes:
        box.close()


def test_a_response_is_what_was_sampled_with_the_answers_of_tools_in_between(play: Any) -> None:
    responses, script = play(call(), call("determinant", "[[1,2],[3,4]]"), ANSWER)
    (sequence,) = responses.sequences
    parts = [call(), "\n<tool_response>1</tool_response>\n"]
    parts += [call("determinant", "[[1,2],[3,4]]"), "\n<tool_response>-2</tool_response>\n", ANSWER]
    ids = [script.ids(part) for part in parts]
    assert sequence.prompt == script.ids("trace [[1]]")
    assert sequence.completion == list(chain(*ids))
    marks = [place % 2 == 0 for place, part in enumerate(ids) for _ in part]
    assert sequence.learned == marks
    assert responses.logp_BC[0].tolist() == [-1.0 if mark else 0.0 for mark in marks]
    assert script.asked[1] == [sequence.prompt + ids[0] + ids[1]]  # token-in, token-out
    assert script.asked[2] == [sequence.prompt + list(chain(*ids[:4]))]
    assert responses.truncated == [False]
    (use,) = responses.tool_use or []
    assert (use.calls, use.errors, use.turns) == (2, 0, [parts[0], parts[2], ANSWER.removesuffix("<eos>")])


def test_a_response_without_a_call_has_no_holes(play: Any) -> None:
    responses, _ = play(ANSWER)
    assert responses.sequences[0].learned is None
    assert [(use.calls, use.errors) for use in responses.tool_use or []] == [(0, 0)]


SLOW = call(
    "matrix_cofactor", str([[i * j % 97 + 0.123456789 * (i * i * j % 7) for j in range(16)] for i in range(16)])
)


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        ('<tool_call>{"name": "matrix_trace",</tool_call>', "Error: the call is not JSON"),
        ("1]]}}</tool_call>", "Error: </tool_call> without <tool_call>"),
        (call("matrix_trac"), "Error: no such tool; did you mean matrix_trace?"),
        (call(matrix="[[1,2]]"), "Error: matrix must be square"),
        (SLOW, "Error: no answer within 0.2 s"),
    ],
)
def test_a_call_that_fails_is_answered_with_an_error_and_the_response_goes_on(play: Any, turn: str, told: str) -> None:
    responses, script = play(turn, ANSWER, deadline=0.2, tokens=6000)
    text = script._words.decode(responses.sequences[0].completion)
    assert f"</tool_call>\n<tool_response>{told}" in text and text.endswith(ANSWER)
    assert [(use.calls, use.errors) for use in responses.tool_use or []] == [(1, 1)]
    assert responses.truncated == [False]


def test_five_calls_are_answered_and_the_sixth_ends_the_response(play: Any) -> None:
    responses, script = play(*[call()] * 6)
    assert len(script.asked) == 6
    assert (responses.tool_use or [])[0].calls == 5
    assert responses.truncated == [True]
    assert (responses.sequences[0].learned or [])[-1]


def test_answers_of_tools_count_in_the_limit_and_one_that_leaves_no_room_is_left_out(play: Any, policy: Policy) -> None:
    said = len(Script(policy).ids(call()))
    heard = len(Script(policy).ids("\n<tool_response>1</tool_response>\n"))
    responses, _ = play(call(), ANSWER, tokens=said + heard)
    assert len(responses.sequences[0].completion) == said
    assert responses.truncated == [True] and (responses.tool_use or [])[0].calls == 0
    responses, script = play(call(), ANSWER, tokens=said + heard + 1)
    assert len(responses.sequences[0].completion) == said + heard + 1
    assert len(script.asked) == 2 and responses.truncated == [True]


def test_a_long_answer_of_a_tool_is_cut(play: Any) -> None:
    responses, script = play(call("matrix_transpose", str([[10] * 9] * 9)), ANSWER, max_result_length=20)
    text = script._words.decode(responses.sequences[0].completion)
    assert "<tool_response>[[10,10,10,10,10,10,...</tool_response>" in text


HERMES = (
    "{% if tools %}{{ tools | length }} tools{{ eos_token }}\n{% endif %}{% for m in messages %}"
    "{% if m.role == 'tool' %}[user]\n<tool_response>\n{{ m.content }}\n</tool_response>{{ eos_token }}\n"
    "{% else %}[{{ m.role }}]\n{{ m.content }}{% for call in m.tool_calls or [] %}"
    '<tool_call>\n{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}"
    "{{ eos_token }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


def test_through_a_chat_template_a_response_is_the_templates_own_conversation(policy: Policy) -> None:
    words: Any = policy.tokenizer
    words.chat_template = HERMES
    conversation: list[dict[str, Any]] = [
        {"role": "user", "content": "trace [[1]]"},
        {
            "role": "assistant",
            "content": "<think>a</think>",
            "tool_calls": [{"function": {"name": "matrix_trace", "arguments": {"matrix": [[1]]}}}],
        },
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "<answer>1</answer>"},
    ]
    turn = '<think>a</think><tool_call>\n{"name": "matrix_trace", "arguments": {"matrix": [[1]]}}\n</tool_call>'
    with Toolbox(ToolsSpec()) as box:
        encoder, script = (
            Encoder(words, "auto", "dataset", box.schemas),
            Script(policy, turn, "<answer>1</answer><eos>"),
        )
        prompts = encoder.prompts([ROW], 500)
        played = Turns(policy, encoder, box, [ROW]).play(prompts, [ROW], Sampling(500), script)
        (taught,) = encoder.pairs([{"prompt": ROW["prompt"], "completion": conversation[1:]}], 1000).sequences
    (sequence,) = played.sequences
    assert "6 tools" in words.decode(sequence.prompt)
    assert sequence.prompt == taught.prompt
    assert [*sequence.completion, *script.ids("\n")] == taught.completion  # the template ends with a line
    said = [token for token, mark in zip(sequence.completion, sequence.learned or [], strict=True) if mark]
    assert words.decode(said) == f"{turn}<answer>1</answer><eos>"
    learned = [token for token, mark in zip(taught.completion, taught.learned or [], strict=True) if mark]
    assert words.decode(learned).startswith(turn + "<eos>")  # which the sampler is spared, and the template writes


def _responses(setup: Make, caller: str, algorithm: str = "grpo", **changes: Any) -> tuple[Setup, Responses]:
    own = LONG | {"prompts_per_step": 2} | changes.pop("algorithm_changes", {})
    made = setup(algorithm, model_path=caller, algorithm_changes=own, **(WITH_TOOLS | changes))
    return made, Actor(made, made.spec.algorithm)._answers.next(0, 0).responses  # type: ignore[arg-type]


def test_what_was_sampled_has_the_log_probabilities_of_a_whole_pass_and_answers_of_tools_have_none(
    setup: Make, caller: str
) -> None:
    made, responses = _responses(setup, caller)
    assert sum(use.calls for use in responses.tool_use or []) > 2
    expected_BT = frozen_logprobs(made.policy, responses.sequences, 1.0, 4096)
    torch.testing.assert_close(responses.logp_BC, expected_BT, atol=2e-5, rtol=0)
    for sequence, logps in zip(responses.sequences, responses.logp_BC.tolist(), strict=True):
        marks = sequence.learned or [True] * len(sequence.completion)
        assert all((logp != 0) == mark for logp, mark in zip(logps, marks, strict=False))
        assert marks[-1]


def test_a_response_does_not_depend_on_what_else_is_in_its_batch(setup: Make, caller: str) -> None:
    _, together = _responses(setup, caller)
    _, apart = _responses(setup, caller, rollout_batch_size=5)
    assert apart.sequences == together.sequences
    assert apart.tool_use == together.tool_use and apart.truncated == together.truncated
    torch.testing.assert_close(apart.entropy, together.entropy)


def test_rewards_see_the_whole_episode_and_its_calls_are_counted(setup: Make, caller: str) -> None:
    own = LONG | {"prompts_per_step": 2}
    made = setup("grpo", model_path=caller, algorithm_changes=own, samples_per_step=8, **WITH_TOOLS)
    seen = Actor(made, made.spec.algorithm).act(0)  # type: ignore[arg-type]
    called = [sample for sample in seen.samples if "<tool_response>" in sample.response]
    assert len(seen.samples) == 8 and called
    assert {"math", "format", "tool_use"} == set(called[0].rewards)
    assert any(sample.rewards["format"] == 1 for sample in called)
    assert seen.metrics["policy/tool_calls"] >= len(called) / 8
    assert seen.metrics["policy/tool_errors"] <= seen.metrics["policy/tool_calls"]
    assert seen.length_B.tolist() == seen.mask_BT.sum(1).tolist()
    whole = [len(sequence.completion) for sequence in seen.sequences]
    assert any(said < all_ for said, all_ in zip(seen.length_B.tolist(), whole, strict=True))
    assert seen.old_BT.shape == seen.mask_BT.shape == (8, max(whole))
    assert seen.metrics["policy/completion_length"] == pytest.approx(sum(whole) / 8)


@pytest.mark.parametrize("algorithm", ["sft", "grpo"])
def test_held_out_rows_are_answered_with_tools_too(setup: Make, caller: str, algorithm: str) -> None:
    held_out = {"eval_dataset": CALLING | {"seed": 5, "size": 4}, "evaluation": LONG}
    made = setup(algorithm, model_path=caller, **(WITH_TOOLS | held_out))
    metrics, samples = Evaluation(made, made.rows[:4]).run()
    assert metrics["eval/tool_calls"] > 0.5 and metrics["eval/tool_errors"] == 0
    assert any("<tool_response>" in sample.response for sample in samples)
    assert metrics["eval/rewards/tool_use"] > 0.5


def _ended(assignment: Assignment) -> tuple[list[Step], list[Saved]]:
    events = list(loop.run(assignment, lambda: None))
    steps = [event for event in events if isinstance(event, Step)]
    return steps, [event for event in events if isinstance(event, Saved)]


def _weights(folder: str) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(Path(folder).rglob("*.safetensors"))]


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_resuming_with_tools_ends_in_the_same_bits_as_never_stopping(
    assign: Assign, caller: str, algorithm: str
) -> None:
    how = WITH_TOOLS | {"model_path": caller, "checkpoint": {"every": 1}, "steps": 2, "algorithm_changes": LONG}
    steps, (middle, end) = _ended(assign(algorithm, **how))
    assert steps[0].metrics["policy/tool_calls"] > 0
    assert steps[0].metrics["policy/sampler_logp_diff"] < 1e-5
    _, (_, again) = _ended(assign(algorithm, resume_from=middle.directory, **how))
    assert _weights(end.directory) == _weights(again.directory) != _weights(middle.directory)
