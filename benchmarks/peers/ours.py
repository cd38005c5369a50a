"""Hone's side of a comparison: an assignment, run by the training loop without the service.

python -m peers.ours TASK.json RESULT.json
"""

import sys

from peers.clock import Clock, read

from worker.protocol import Assignment, Step
from worker.training.loop import run

METRICS = {"rollout": "time/rollout", "length": "policy/completion_length"}


def main() -> None:
    """Run the assignment, and write how long the steps took."""
    clock = Clock()
    for event in run(Assignment.model_validate(read(sys.argv[1])["assignment"]), lambda: None):
        if isinstance(event, Step):
            clock.lap(**{name: event.metrics[key] for name, key in METRICS.items() if key in event.metrics})
    clock.write(sys.argv[2])


if __name__ == "__main__":
    main()
