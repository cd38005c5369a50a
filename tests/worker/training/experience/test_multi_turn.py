"""Responses with calls of tools: what they are setup of, and how they end."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_styles import tokenizer

from service.domain.datasets import LinearAlgebraData
from service.domain.health_notes import Note
from service.domain.tools import ToolsSpec
from worker.protocol import Assignment, Saved, Step
from worker.training import loop
from worker.training.data.encode import Encoder
from worker.training.data.rows import Row
from worker.training.decoding.generate import Responses, Sampling
from worker.training.experience.collect import RolloutWorker
from worker.training.experience.evaluate import Evaluation
from worker.training.experience.multi_turn import MultiTurnSampler
from worker.training.models.end_of_turn import end_of_turn
from worker.training.models.logprobs import frozen_logprobs
from worker.training.models.policy import Policy
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup
from worker.training.tools.toolbox import Toolbox

Make = Callable[..., Setup]
Assign = Callable[..., Assignment]
ROW: Row = {"prompt": "trace [[1]]", "answer": "1"}
RIGHT = "<answer>1</answer>"
ANSWER = f"<think>1</think>{RIGHT}<eos>"
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
    """Gives fixed texts, one a turn, whatever the prompt; a text ends where the sampler would have ended it."""

    def __init__(self, policy: Policy, *turns: str) -> None:
        self.asked: list[list[list[int]]] = []
        self._words, self._turns = policy.tokenizer, list(turns)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self._words(text, add_special_tokens=False)["input_ids"]
        return ids

    def __call__(self, prompts: list[list[int]], sampling: Sampling) -> Responses:
        self.asked.append(prompts)
        assert sampling.stop == "</tool_call>"
        text = self._turns.pop(0)
        limits = [row.max_tokens for row in sampling.rows] or [sampling.max_tokens] * len(prompts)
        turns = [self.ids(text)[:limit] for limit in limits]
        logp_BC = -torch.ones(len(prompts), max(map(len, turns)))
        cut = [len(tokens) < len(self.ids(text)) for tokens in turns]
        sequences = [Tokens(prompt, tokens) for prompt, tokens in zip(prompts, turns, strict=True)]
        return Responses(sequences, logp_BC, torch.zeros(()), cut)


@pytest.fixture
def respond(policy: Policy) -> Iterator[Callable[..., tuple[Responses, Script]]]:
    """Makes a script the response to one prompt."""
    boxes: list[Toolbox] = []

    def run(*turns: str, tokens: int = 1000, deadline: float = 5.0, **spec: Any) -> tuple[Responses, Script]:
        boxes.append(Toolbox(ToolsSpec(**spec), deadline_seconds=deadline))
        encoder, script = Encoder(policy.tokenizer, "auto", "dataset"), Script(policy, *turns)
        prompts = encoder.prompts([ROW], 100)
        sampler = MultiTurnSampler(policy, encoder, boxes[-1], [ROW])
        return sampler.sample(prompts, [ROW], Sampling(tokens), script), script

    yield run
    for box in boxes:
        box.close()


def test_a_response_is_what_was_sampled_with_the_outputs_of_tools_in_between(respond: Any) -> None:
    responses, script = respond(call(), call("determinant", "[[1,2],[3,4]]"), ANSWER)
    (sequence,) = responses.sequences
    parts = [call(), "\n<tool_response>1</tool_response>\n"]
    parts += [call("determinant", "[[1,2],[3,4]]"), "\n<tool_response>-2</tool_response>\n", ANSWER]
    ids = [script.ids(part) for part in parts]
    assert sequence.prompt == script.ids("trace [[1]]")
    assert sequence.completion == list(chain(*ids))
    marks = [place % 2 == 0 for place, part in enumerate(ids) for _ in part]
    assert sequence.loss_mask == marks
    assert responses.logp_BC[0].tolist() == [-1.0 if mark else 0.0 for mark in marks]
    assert script.asked[1] == [sequence.prompt + ids[0] + ids[1]]  # token-in, token-out
    assert script.asked[2] == [sequence.prompt + list(chain(*ids[:4]))]
    assert responses.truncated == [False]
    (use,) = responses.tool_use or []
    assert (use.calls, use.errors, use.turns) == (2, 0, [parts[0], parts[2], ANSWER.removesuffix("<eos>")])


def test_a_response_without_a_call_has_no_holes(respond: Any) -> None:
    responses, _ = respond(ANSWER)
    assert responses.sequences[0].loss_mask is None
    assert [(use.calls, use.errors) for use in responses.tool_use or []] == [(0, 0)]


SLOW = call(
    "matrix_cofactor", str([[i * j % 97 + 0.123456789 * (i * i * j % 7) for j in range(16)] for i in range(16)])
)


@pytest.mark.parametrize(
    ("turn", "error"),
    [
        ('<tool_call>{"name": "matrix_trace",</tool_call>', "Error: the call is not JSON"),
        ("1]]}}</tool_call>", "Error: </tool_call> without <tool_call>"),
        (call("matrix_trac"), "Error: no such tool; did you mean matrix_trace?"),
        (call(matrix="[[1,2]]"), "Error: matrix must be square"),
        (SLOW, "Error: no answer within 0.2 s"),
    ],
)
def test_a_call_that_fails_is_answered_with_an_error_and_the_response_goes_on(
    respond: Any, turn: str, error: str
) -> None:
    responses, script = respond(turn, ANSWER, deadline=0.2, tokens=6000)
    text = script._words.decode(responses.sequences[0].completion)
    assert f"</tool_call>\n<tool_response>{error}" in text and text.endswith(ANSWER)
    assert [(use.calls, use.errors) for use in responses.tool_use or []] == [(1, 1)]
    assert responses.truncated == [False]


def test_five_calls_are_answered_and_the_sixth_ends_the_response(respond: Any) -> None:
    responses, script = respond(*[call()] * 6)
    assert len(script.asked) == 6
    assert (responses.tool_use or [])[0].calls == 5
    assert responses.truncated == [True]
    assert (responses.sequences[0].loss_mask or [])[-1]


def test_outputs_of_tools_count_in_the_limit_and_one_that_fills_it_is_left_out(respond: Any, policy: Policy) -> None:
    turn = len(Script(policy).ids(call()))
    output = len(Script(policy).ids("\n<tool_response>1</tool_response>\n"))
    responses, _ = respond(call(), ANSWER, tokens=turn + output)
    assert len(responses.sequences[0].completion) == turn
    assert responses.truncated == [True] and (responses.tool_use or [])[0].calls == 0
    responses, script = respond(call(), ANSWER, tokens=turn + output + 1)
    assert len(responses.sequences[0].completion) == turn + output + 1
    assert len(script.asked) == 2 and responses.truncated == [True]


def test_a_long_output_of_a_tool_is_cut(respond: Any) -> None:
    responses, script = respond(call("matrix_transpose", str([[10] * 9] * 9)), ANSWER, max_result_length=20)
    text = script._words.decode(responses.sequences[0].completion)
    assert "<tool_response>[[10,10,10,10,10,10,...</tool_response>" in text


MALFORMED = ['<tool_call>{"name": "matrix_trace",</tool_call>', "1]]}}</tool_call>", call("matrix_trac")]


@pytest.mark.parametrize("turn", MALFORMED)
def test_a_call_that_no_tool_can_be_given_may_end_the_response(respond: Any, turn: str) -> None:
    responses, script = respond(call(), turn, ANSWER, malformed_call="end")
    assert len(script.asked) == 2
    assert [(use.calls, use.errors) for use in responses.tool_use or []] == [(2, 1)]
    assert responses.truncated == [False]  # no limit has ended it
    assert responses.sequences[0].completion[-1] == script.ids(turn)[-1]


@pytest.mark.parametrize("turn", [call(matrix="[[1,2]]"), call(matrix='"a"'), SLOW])
def test_an_error_of_the_tool_itself_is_replied_all_the_same(respond: Any, turn: str) -> None:
    responses, script = respond(turn, ANSWER, malformed_call="end", deadline=0.2, tokens=6000)
    assert len(script.asked) == 2
    assert [(use.calls, use.errors) for use in responses.tool_use or []] == [(1, 1)]


def test_a_turn_has_a_limit_of_its_own(respond: Any, policy: Policy) -> None:
    longest = len(Script(policy).ids(call()))
    responses, _ = respond(call(), call(), ANSWER, max_turn_length=longest)
    assert responses.truncated == [False] and len(responses.sequences[0].completion) > 2 * longest
    responses, script = respond(call(), "<think>" + "a" * longest + "</think>" + RIGHT, max_turn_length=longest)
    assert len(script.asked) == 2 and responses.truncated == [True]
    (use,) = responses.tool_use or []
    assert use.calls == 1 and len(script.ids(use.turns[-1])) == longest
    responses, _ = respond(call(), max_turn_length=longest - 1)
    assert responses.truncated == [True] and len(responses.sequences[0].completion) == longest - 1


HERMES = (
    "{% if tools %}{{ tools | tojson }}{{ eos_token }}\n{% endif %}{% for m in messages %}"
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
    with Toolbox(ToolsSpec(functions=["matrix_trace"])) as box:
        encoder, script = (
            Encoder(words, "auto", "dataset", box.schemas),
            Script(policy, turn, "<answer>1</answer><eos>"),
        )
        prompts = encoder.prompts([ROW], 1000)
        responses = MultiTurnSampler(policy, encoder, box, [ROW]).sample(prompts, [ROW], Sampling(500), script)
        (trained,) = encoder.encode_nonempty(
            [{"prompt": ROW["prompt"], "completion": conversation[1:]}], 1000
        ).sequences
    (sequence,) = responses.sequences
    assert '"matrix_trace"' in words.decode(sequence.prompt)
    assert sequence.prompt == trained.prompt
    assert sequence.completion == trained.completion
    sampled = [token for token, mark in zip(sequence.completion, sequence.loss_mask or [], strict=True) if mark]
    assert words.decode(sampled) == f"{turn}<answer>1</answer><eos>"
    in_loss = [token for token, mark in zip(trained.completion, trained.loss_mask or [], strict=True) if mark]
    assert words.decode(in_loss).startswith(turn + "<eos>")  # which the sampler is spared, and the template writes


QWEN3_CALL = '<tool_call>\n{"name": "matrix_trace", "arguments": {"matrix": [[1]]}}\n</tool_call>'
TAGGED_CALL = '<tool_call>{"name":"matrix_trace","arguments":{"matrix":[[1]]}}</tool_call>'


@pytest.mark.parametrize(
    ("name", "first", "between"),
    [
        (
            "qwen3",
            f"<think>\na\n</think>\n\n{QWEN3_CALL}",
            "<|im_end|>\n<|im_start|>user\n<tool_response>\n1\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "llama3",
            f"<think>a</think>{TAGGED_CALL}",
            "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n<tool_response>1</tool_response>"
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
)
def test_tools_are_called_through_the_templates_of_models(policy: Policy, name: str, first: str, between: str) -> None:
    policy.tokenizer = tokenizer(name)
    policy.model.generation_config.eos_token_id = policy.tokenizer.eos_token_id
    end = str(policy.tokenizer.convert_ids_to_tokens(end_of_turn(policy.tokenizer) or 0))
    with Toolbox(ToolsSpec(functions=["matrix_trace"])) as box:
        notes: list[Note] = []
        encoder = Encoder.of(policy, LinearAlgebraData(), "dataset", notes, box.schemas)
        script = Script(policy, first, f"<answer>1</answer>{end}")
        prompts = encoder.prompts([ROW], 2000)
        (sequence,) = (
            MultiTurnSampler(policy, encoder, box, [ROW]).sample(prompts, [ROW], Sampling(2000), script).sequences
        )
    assert policy.tokenizer.decode(sequence.completion) == f"{first}{between}<answer>1</answer>{end}"
    marks = sequence.loss_mask or []
    sampled = [token for token, mark in zip(sequence.completion, marks, strict=True) if mark]
    assert policy.tokenizer.decode(sampled) == f"{first}<answer>1</answer>{end}"
    assert "matrix_trace" in str(policy.tokenizer.decode(sequence.prompt))
    assert [note.message[:40] for note in notes] == ["1 of 1 rows of dataset have tools, calls"] * (name == "llama3")


def _responses(make_setup: Make, caller: str, algorithm: str = "grpo", **changes: Any) -> tuple[Setup, Responses]:
    own = LONG | {"prompts_per_step": 2} | changes.pop("algorithm_changes", {})
    setup = make_setup(algorithm, model_path=caller, algorithm_changes=own, **(WITH_TOOLS | changes))
    return setup, RolloutWorker(setup, setup.spec.algorithm)._sampler.sample(0, 0).responses  # type: ignore[arg-type]


def test_what_was_sampled_has_the_log_probabilities_of_a_whole_pass_and_outputs_of_tools_have_none(
    make_setup: Make, caller: str
) -> None:
    setup, responses = _responses(make_setup, caller)
    assert sum(use.calls for use in responses.tool_use or []) > 2
    expected_BT = frozen_logprobs(setup.policy, responses.sequences, 1.0, 4096)
    torch.testing.assert_close(responses.logp_BC, expected_BT, atol=2e-5, rtol=0)
    for sequence, logps in zip(responses.sequences, responses.logp_BC.tolist(), strict=True):
        marks = sequence.loss_mask or [True] * len(sequence.completion)
        assert all((logp != 0) == mark for logp, mark in zip(logps, marks, strict=False))
        assert marks[-1]


def test_a_response_does_not_depend_on_what_else_is_in_its_batch(make_setup: Make, caller: str) -> None:
    _, together = _responses(make_setup, caller)
    _, apart = _responses(make_setup, caller, rollout_batch_size=5)
    assert apart.sequences == together.sequences
    assert apart.tool_use == together.tool_use and apart.truncated == together.truncated
    torch.testing.assert_close(apart.entropy, together.entropy)


def test_rewards_see_the_whole_episode_and_its_calls_are_counted(make_setup: Make, caller: str) -> None:
    own = LONG | {"prompts_per_step": 2}
    setup = make_setup("grpo", model_path=caller, algorithm_changes=own, samples_per_step=8, **WITH_TOOLS)
    experience = RolloutWorker(setup, setup.spec.algorithm).collect(0)  # type: ignore[arg-type]
    called = [sample for sample in experience.samples if "<tool_response>" in sample.response]
    assert len(experience.samples) == 8 and called
    assert {"math", "format", "tool_use"} == set(called[0].rewards)
    assert any(sample.rewards["format"] == 1 for sample in called)
    assert experience.metrics["policy/tool_calls"] >= len(called) / 8
    assert experience.metrics["policy/tool_errors"] <= experience.metrics["policy/tool_calls"]
    assert experience.length_B.tolist() == experience.mask_BT.sum(1).tolist()
    whole = [len(sequence.completion) for sequence in experience.sequences]
    assert any(sampled < total for sampled, total in zip(experience.length_B.tolist(), whole, strict=True))
    assert experience.sampler_BT.shape == experience.mask_BT.shape == (8, max(whole))
    assert experience.metrics["policy/completion_length"] == pytest.approx(sum(whole) / 8)


@pytest.mark.parametrize("algorithm", ["sft", "grpo"])
def test_held_out_rows_are_answered_with_tools_too(make_setup: Make, caller: str, algorithm: str) -> None:
    held_out = {"eval_dataset": CALLING | {"seed": 5, "size": 4}, "evaluation": LONG}
    setup = make_setup(algorithm, model_path=caller, **(WITH_TOOLS | held_out))
    metrics, samples = Evaluation(setup, setup.rows[:4]).run()
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
    fields = WITH_TOOLS | {"model_path": caller, "checkpoint": {"every": 1}, "steps": 2, "algorithm_changes": LONG}
    steps, (middle, end) = _ended(assign(algorithm, **fields))
    assert steps[0].metrics["policy/tool_calls"] > 0
    assert steps[0].metrics["policy/sampler_logp_diff"] < 1e-5
    _, (_, again) = _ended(assign(algorithm, resume_from=middle.directory, **fields))
    assert _weights(end.directory) == _weights(again.directory) != _weights(middle.directory)
