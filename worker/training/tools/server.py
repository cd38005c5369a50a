"""The process in which tools run: `python -m worker.training.tools.server`.

As `processes/serving.py` says: first `{"tools": [names]}`, then turns as items; for each `[[output, kind], null]`,
where the kind is `output`, `error` of the tool, or `malformed` call.
"""

from typing import Any

from worker.training.processes.forks import Handler
from worker.training.processes.serving import serve
from worker.training.tools.calls import MalformedCall, run_call


def handlers(first: dict[str, Any]) -> list[Handler]:
    """The handler that runs the call of each turn."""
    names = first["tools"]

    def handle(turn: str) -> list[Any]:
        try:
            return [[run_call(turn, names), "output"], None]
        except MalformedCall as error:
            return [[str(error), "malformed"], None]
        except ValueError as error:
            return [[str(error), "error"], None]
        except Exception as error:  # noqa: BLE001 - what policies write is anything, and costs a turn at most
            return [[f"{type(error).__name__}: {error}"[:300], "error"], None]

    return [handle]


if __name__ == "__main__":
    serve(handlers)
