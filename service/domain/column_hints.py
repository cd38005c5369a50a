"""Which mapping of columns (`dataset.columns`) would make rows usable, as an example for an error message."""

from collections.abc import Sequence
from difflib import get_close_matches

from service.domain.shapes import COLUMNS, Shape

LIKELY = {
    "prompt": ("question", "problem", "query", "instruction", "input", "user", "source", "context", "text"),
    "completion": ("response", "output", "answer", "solution", "target", "assistant", "reply", "generation", "label"),
    "answer": ("solution", "ground_truth", "final_answer", "expected_answer", "gold", "target", "label", "output"),
    "messages": ("conversations", "conversation", "dialogue", "dialog", "chat", "turns"),
    "chosen": ("preferred", "chosen_response", "preferred_output", "better", "winner", "good"),
    "rejected": ("dispreferred", "rejected_response", "non_preferred_output", "worse", "loser", "bad"),
    "text": ("content", "document", "body"),
}
"""What other tools call our columns."""
UNKNOWN = "COLUMN"


def example(shape: Shape, names: Sequence[str]) -> str:
    """A mapping to a shape for a file with these columns: `{prompt: question, answer: COLUMN}`."""
    pairs = [(target, source) for target, source in _sources(COLUMNS[shape], list(names)) if target != source]
    return "{" + ", ".join(f"{target}: {source}" for target, source in pairs) + "}"


def nearest(shapes: Sequence[Shape], names: Sequence[str]) -> Shape:
    """The shape for which most columns are there, by their own names or by likely ones."""
    return max(shapes, key=lambda shape: _share(COLUMNS[shape], list(names)))


def _share(targets: Sequence[str], names: list[str]) -> float:
    worth = [1.0 if target == source else 0.9 for target, source in _sources(targets, names) if source != UNKNOWN]
    return sum(worth) / len(targets)


def _sources(targets: Sequence[str], names: list[str]) -> list[tuple[str, str]]:
    """Each target with the column that may be meant; no column is taken twice."""
    free = [name for name in names if name not in targets]
    found = []
    for target in targets:
        source = target if target in names else _likely(target, free)
        found.append((target, source))
        free = [name for name in free if name != source]
    return found


def _likely(target: str, free: Sequence[str]) -> str:
    lowered = {name.lower(): name for name in free}
    known = next((lowered[name] for name in LIKELY.get(target, ()) if name in lowered), None)
    near = get_close_matches(target, list(lowered), n=1, cutoff=0.7)
    return known or (lowered[near[0]] if near else UNKNOWN)
