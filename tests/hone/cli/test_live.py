import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from hone.cli import models
from hone.cli.live import Bar, Lines, short, show
from hone.documents import EventRead


def event(kind: Any, **data: Any) -> EventRead:
    return EventRead(seq=1, kind=kind, attempt=1, step=data.get("step"), created_at=datetime.now(UTC), data=data)


EVENTS = [
    event("status", status="running", attempt=1, worker="w"),
    event("status", status="running", phase="training"),
    event("metrics", step=1, metrics={"train/loss": 2.5, "time/step": 0.1}),
    event("metrics", step=2, metrics={"train/loss": None}),
    event("log", line="[red] is not markup here", stream="stdout"),
    event("checkpoint", step=2, id="ckpt_1"),
    event("metrics", step=2, metrics={"eval/accuracy": 0.75}),
    event("status", status="failed", failure={"category": "nan", "message": "the loss is not finite"}),
]
MODEL: dict[str, Any] = {
    "architecture": "LlamaForCausalLM",
    "parameters": 342240,
    "dtype": "float32",
    "tokens": 103,
    "embedding_rows": 104,
    "special_tokens": {"eos_token": "<eos>"},
    "stops": [{"id": 1, "text": "<eos>"}, {"id": 9, "text": None}],
    "chat_template": False,
    "context": None,
    "notes": ["[red] is a note"],
}


def test_a_loaded_model_is_a_line_and_its_facts_are_the_last_attempts() -> None:
    file = io.StringIO()
    loaded = event("loaded", role="policy", name="tiny", model=MODEL)
    show([loaded], Lines(Console(file=file, width=200), "job"))
    line = "policy tiny: LlamaForCausalLM, 342,240 parameters, float32, context without a limit"
    assert file.getvalue() == f"job: {line}\n"
    again = event("loaded", role="policy", name="tiny", model=MODEL | {"context": 1024, "chat_template": True})
    assert models.facts([loaded, again]) == [
        ("policy", "tiny: LlamaForCausalLM, 342,240 parameters, float32"),
        ("policy", "103 tokens, 104 rows in the embedding, context 1,024"),
        ("policy", "special tokens: eos <eos>; a response ends with <eos> (1), unknown (9)"),
        ("policy", "chat template"),
        ("policy", "note: [red] is a note"),
    ]


def test_without_a_terminal_each_line_stands_for_itself() -> None:
    file = io.StringIO()
    show(EVENTS, Lines(Console(file=file, width=200), "tiny"))
    assert file.getvalue().splitlines() == [
        "tiny: running",
        "tiny: step 1  loss 2.5",
        "tiny: [red] is not markup here",
        "tiny: checkpoint at step 2",
        "tiny: step 2  accuracy 0.75",
        "tiny: failed: the loss is not finite",
    ]


def test_on_a_terminal_a_bar_keeps_the_last_metrics_in_sight() -> None:
    file = io.StringIO()
    with Bar(Console(file=file, width=200, force_terminal=True, color_system=None), "tiny", 4) as bar:
        show(EVENTS, bar)
    last = [line for line in file.getvalue().splitlines() if "/4" in line][-1]
    assert "2/4" in last
    assert "accuracy 0.75  loss not finite" in last


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (6.985e-09, "0"),  # a sum of float32 that is 0 on paper, as the loss of an on-policy step
        (-6.985e-09, "0"),
        (0.0, "0"),
        (0.00001234, "0.000012"),
        (-0.0005, "-0.000500"),
        (0.00123456, "0.001235"),
        (2.5, "2.5"),
        (1234.56, "1235"),
        (123456.7, "123,457"),
        (1e30, "1e+30"),
        (float("inf"), "inf"),
        (None, "not finite"),
    ],
)
def test_numbers_that_are_read_in_passing_have_no_exponents(value: float | None, shown: str) -> None:
    assert short(value) == shown
