"""The process in which tools run: `python -m worker.training.tools.server`.

As in `rewards/server.py`: first `{"tools": [names]}`, then batches of turns; for each `[answer, null]` or
`[null, "what is wrong with the call"]`.
"""

from typing import Any

from worker.training.rewards.server import Handler, serve
from worker.training.tools.calls import answer


def handlers(first: dict[str, Any]) -> list[Handler]:
    """The one thing that is done with each turn."""
    names = first["tools"]

    def handle(turn: str) -> list[Any]:
        try:
            return [answer(turn, names), None]
        except ValueError as error:
            return [None, str(error)]
        except Exception as error:  # noqa: BLE001 - what policies write is anything, and costs a turn at most
            return [None, f"{type(error).__name__}: {error}"[:300]]

    return [handle]


if __name__ == "__main__":
    serve(handlers)
