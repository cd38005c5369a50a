import io
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from service.live import Bar, Lines, show
from service.schemas import EventRead


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
