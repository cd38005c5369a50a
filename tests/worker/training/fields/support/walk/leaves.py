"""The fields of a spec, found by looking at its models, and what a job does with another value of one."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from service.domain.merge import merged
from service.domain.specs import JobSpec
from walk.cases import ANYWHERE, ELSEWHERE, JUDGE, OWN, POLICIES, READ_ALIKE, REASONS, SCORES, VALUES, WHERE

RunJob = Callable[[dict[str, Any]], list[Any]]
"""A spec to what came of it."""
KINDS = {*OWN, "linear-algebra", "file", "rejection-sampling", "curriculum", "gaussian", "prioritized", "reward_model"}
"""Parts of a path that name the kind of a block."""


class Leaf(NamedTuple):
    """A field that holds no block of further fields."""

    path: str
    """As `algorithm.grpo.beta`: with the kind of each block that has several."""
    field: FieldInfo


def leaves(model: type[BaseModel], path: str = "") -> Iterator[Leaf]:
    """All leaves of a model, those of every kind of block that it may hold."""
    for name, field in model.model_fields.items():
        blocks = list(_blocks(field.annotation))
        if not blocks:
            yield Leaf(f"{path}{name}", field)
        for block in blocks:
            yield from leaves(block, f"{path}{name}.{_kind(block, len(blocks))}")


def _blocks(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _blocks(part)


def _kind(block: type[BaseModel], among: int) -> str:
    """What a document calls it, and a dot; nothing where there is only one."""
    if among == 1:
        return ""
    tag = block.model_fields.get("type", block.model_fields.get("source"))
    assert tag is not None
    return f"{tag.default}." if isinstance(tag.default, str) else "file."


def another(leaf: Leaf) -> Any:
    """A valid value that is not the default."""
    if ends := [end for end in VALUES if leaf.path.endswith(end)]:
        return VALUES[max(ends, key=len)]
    default, kinds = leaf.field.default, [part for part in _parts(leaf.field.annotation) if part is not NoneType]
    if kinds == [bool]:
        return not default
    if all(isinstance(kind, str) for kind in kinds):
        return next(kind for kind in kinds if kind != default)
    return default / 2 if kinds == [float] and default else (default or 0) + 1


def _parts(annotation: Any) -> Iterator[Any]:
    """The types of a union, or the values of a Literal."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif parts := get_args(annotation):
        for part in parts:
            yield from _parts(part)
    else:
        yield annotation


def place(leaf: Leaf) -> tuple[dict[str, Any], dict[str, Any]]:
    """A spec in which the leaf acts, and the same with another value of it."""
    kind = leaf.path.split(".")[1] if leaf.path.startswith("algorithm.") else "sft"
    changes = ANYWHERE.get(leaf.path.rsplit(".", 1)[-1], {}) if kind in POLICIES else {}
    if starts := [start for start in WHERE if leaf.path.startswith(start)]:
        kind, more = WHERE[max(starts, key=len)]
        changes = merged(changes, more)
    document = merged(plain(kind), changes)
    return document, merged(document, put(leaf.path, another(leaf)))


def plain(kind: str) -> dict[str, Any]:
    """A small job of an algorithm."""
    rewards = {"rewards": JUDGE} if kind in POLICIES else {}
    own = {"algorithm": {"type": kind, **OWN[kind]}, "dataset": {"source": "file-1"}}
    return own | rewards | {"optimizer": {"learning_rate": 0.01}, "steps": 3 if kind not in POLICIES else 2}


def put(path: str, value: Any) -> dict[str, Any]:
    """A path and a value as the blocks of a document, without the kinds."""
    parts = path.split(".")
    # What follows a kind is a field, also where it is called like one: curriculum.prioritized.floor.
    names = [name for before, name in pairwise(["", *parts]) if name not in KINDS or before in KINDS]
    if names[0] == "rewards":
        return {"rewards": [JUDGE[0] | {names[1]: value}]}
    for name in reversed(names):
        value = {name: value}
    return dict(value)


def covered_elsewhere(path: str) -> bool:
    """Whether a list says why a leaf needs no job of its own."""
    name = path.rsplit(".", 1)[-1]
    score = path.removeprefix("rewards.") in SCORES
    return path in ELSEWHERE or name in REASONS or score or any(path.startswith(start) for start in READ_ALIKE)


def verdict(leaf: Leaf, run: RunJob) -> str:
    """`acts`; or what came of the other value instead."""
    document, changed = place(leaf)
    try:
        return "acts" if run(document) != run(changed) else "nothing changed"
    except ValidationError as error:
        return str(error)


LEAVES = {leaf.path: leaf for leaf in leaves(JobSpec)}
