"""Training: the loop and its parts. `train` runs it without a service, in a notebook or a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Generator

    from worker.protocol import Event
    from worker.training.notebook import Paths, Source


def train(
    spec: Source, directory: str | os.PathLike[str], *, models: Paths | None = None, files: Paths | None = None
) -> Generator[Event, None, None]:
    """Train in this process, and yield the events of each step; nothing runs before the first event is asked for.

        for event in train({"algorithm": {"type": "sft"}, "dataset": {"source": "./rows.jsonl"}}, "./run"):
            print(event)

    `spec` is what the service accepts: a dict, a `JobSpec`, or the path of a YAML or JSON file; it is read as strictly.
    Checkpoints are written below `directory`, when the spec's `checkpoint` says so and after the last step. If there
    are some, the training continues from the newest complete one, and ends with the same weights as if it had never
    stopped. `models` and `files` give paths for names of the spec:
    `models={"job:ftjob-...@best": "./model"}`. Priorities, limits and retention are the service's, and do nothing here.

    Invalid says what cannot be used; for spec and paths the call itself raises it. A loss that becomes NaN is a last
    event, `Failed`.
    """
    from pathlib import Path  # torch takes seconds to import, and reward processes do not need it

    from worker.training import notebook

    return notebook.run(notebook.assignment(spec, Path(directory).expanduser(), models or {}, files or {}))
