"""A process that handles items for its parent, in forks that can be killed.

It reads JSON lines: first what prepares the handlers, with `processes` and `deadline_seconds`, then calls, each a list
of items. It writes `[]` when it is ready, and `[index, [[value, error], ...]]` for each item as soon as its outcomes
are known. It ends with its parent: by the end of its input, or on Linux by a signal.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from worker.training.processes.forks import Forks, Handler
from worker.training.processes.limits import die_with_parent


def serve(prepare: Callable[[Any], list[Handler]]) -> None:
    """Handle items until the input ends. `prepare` makes the handlers from the first line."""
    die_with_parent()
    output = _private_output()
    first = json.loads(sys.stdin.readline())
    handlers = prepare(first)
    gc.freeze()  # forks that never touch an object share its memory
    forks = Forks(handlers, first["processes"], first["deadline_seconds"], [sys.stdin.fileno(), output])
    _write(output, [])
    for line in sys.stdin:
        for outcome in forks.run(json.loads(line)):
            _write(output, outcome)


def _private_output() -> int:
    """Where lines go that no `print` of a library can disturb: those go to stderr from now on."""
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


def _write(output: int, value: Any) -> None:
    data = memoryview(json.dumps(value).encode() + b"\n")
    while data:
        data = data[os.write(output, data) :]
