"""The process in which reward functions run: `python -m worker.training.rewards.server`.

It reads JSON lines: first `{"specs": [...]}`, then batches `[[prompt, response, row], ...]`. It writes one line for
each reward of each item as soon as it is known, `[score, null]` or `[null, "what went wrong"]`, and `[]` when it is
ready for batches. It ends with its parent: by the end of its input, or on Linux by a signal, because a
function that never lets go of the interpreter would never read that end.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from service.domain.rewards import AnyReward
from worker.training.rewards.kinds import RewardFunction
from worker.training.rewards.registry import build

Handler = Callable[..., list[Any]]
"""An item to `[value, null]` or `[null, "what went wrong"]`."""
PR_SET_PDEATHSIG = 1
MEMORY_BYTES = 4 << 30
"""Address space; `9^9^9` ends in a MemoryError that costs its item, not in a machine without memory."""


def serve(prepare: Callable[[Any], list[Handler]]) -> None:
    """Until the input ends. `prepare` makes of the first line what is done with each item."""
    if sys.platform == "linux":
        _die_with_parent()
        _limit_memory()
    say = _private_output()
    handlers = prepare(json.loads(sys.stdin.readline()))
    say([])
    for line in sys.stdin:
        for item in json.loads(line):
            for handle in handlers:
                say(handle(*item))


def rewards(first: dict[str, Any]) -> list[Handler]:
    """What scores a response, for each spec of the first line."""
    specs = TypeAdapter(list[AnyReward]).validate_python(first["specs"])
    _warm(specs)
    return [partial(outcome, build(spec)) for spec in specs]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES if hard < 0 else min(MEMORY_BYTES, hard), hard))


def _private_output() -> Callable[[Any], None]:
    """A way to write lines that no `print` of a reward's library can disturb: those go to stderr from now on."""
    lines = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(value: Any) -> None:
        os.write(lines, json.dumps(value).encode() + b"\n")

    return say


def _warm(specs: Sequence[AnyReward]) -> None:
    """Import now what would take half of the first item's time."""
    if any(spec.type == "math" for spec in specs):
        import math_verify  # noqa: F401


def outcome(function: RewardFunction, prompt: str, response: str, row: dict[str, Any]) -> list[Any]:
    """Any exception of a reward costs one item: the functions see what models write, which is anything."""
    try:
        return [_number(function(prompt, response, row)), None]
    except Exception as error:  # noqa: BLE001 - the docstring says why
        return [None, f"{type(error).__name__}: {error}"[:1000]]


def _number(value: Any) -> float:
    """A finite float, or ValueError saying what came instead."""
    if isinstance(value, bool | int | float) and abs(value) < float("inf"):
        return float(value)
    raise ValueError(f"returned {value!r}, which is not a finite number")


if __name__ == "__main__":
    serve(rewards)
