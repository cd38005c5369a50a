"""Seconds of each step of a training run, written to a file. Runs in the environments of both sides."""

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import torch


class Clock:
    """Laps from the end of one step to the end of the next, whatever happens in between."""

    def __init__(self) -> None:
        self._steps: list[dict[str, float]] = []
        self._start = perf_counter()

    def lap(self, **values: float) -> None:
        """A step is done."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = perf_counter()
        self._steps.append({"seconds": now - self._start, **values})
        self._start = now

    def write(self, path: str) -> None:
        """All laps, and the highest memory of the GPU in bytes."""
        gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        Path(path).write_text(json.dumps({"steps": self._steps, "gpu_bytes": gpu}))


def read(path: str) -> dict[str, Any]:
    """The task of a side."""
    task: dict[str, Any] = json.loads(Path(path).read_text())
    return task
