"""The diagram of a job's life is the table of service/domain/jobs.py."""

import re
from typing import Any

from service.domain.jobs import MOVES


def test_the_diagram_shows_every_move_and_no_other(architecture: Any) -> None:
    [diagram] = architecture.blocks("mermaid")
    shown = set(re.findall(r"(\w+) --> (\w+): (\w+)", diagram))
    moves = {(str(before), str(after), str(event)) for (before, event), after in MOVES.items()}
    missing = [f"{before} --> {after}: {event}" for before, after, event in sorted(moves - shown)]
    assert not missing, f"ARCHITECTURE.md, section 'The life of a job', lacks {missing}"
    assert not shown - moves, f"ARCHITECTURE.md, section 'The life of a job': {shown - moves} cannot happen"
