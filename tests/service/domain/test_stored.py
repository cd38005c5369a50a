"""Stored specs are read leniently, whichever version wrote them."""

import json
from pathlib import Path
from typing import Any

import pytest

from hone.errors import NewerSpec, UnreadableSpec
from service.domain.specs import JobSpec
from service.domain.stored import SPEC_VERSION, UPCASTERS, StoredSpec, texts

ASKED = {
    "algorithm": {"type": "grpo"},
    "dataset": {"source": "linear-algebra"},
    "eval_dataset": {"source": "linear-algebra", "seed": 1},
    "rewards": [{"type": "math"}],
    "steps": 7,
}
PLACES = ["", "algorithm", "dataset", "eval_dataset", "optimizer", "resources", "rewards.0", "evaluation", "checkpoint"]
WRONG = {
    "steps": "many",
    "algorithm": "grpo",
    "algorithm.type": "alchemy",
    "algorithm.num_generations": [],
    "dataset": None,
    "dataset.source": 3,
    "dataset.size": "all",
    "eval_dataset.template": 1,
    "optimizer": "adamw",
    "optimizer.learning_rate": "fast",
    "resources.gpus": "two",
    "resources.gpu_memory_gb": {"of": "each"},
    "rewards": {"type": "math"},
    "rewards.0": "math",
    "rewards.0.weight": "heavy",
    "evaluation.every": "often",
    "checkpoint.keep_last": None,
    "tags": ["a"],
    "depends_on": "ftjob-1",
}


def stored() -> dict[str, Any]:
    """As a row has it."""
    return JobSpec.model_validate(ASKED).model_dump(mode="json")


def at(document: Any, place: str) -> Any:
    for part in place.split(".") if place else []:
        document = document[int(part) if part.isdigit() else part]
    return document


def put(document: Any, place: str, value: Any) -> Any:
    block, _, name = place.rpartition(".")
    at(document, block)[int(name) if name.isdigit() else name] = value
    return document


def under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def test_what_was_stored_is_what_is_read() -> None:
    assert StoredSpec(stored(), SPEC_VERSION).exact() == JobSpec.model_validate(ASKED)


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_key_is_ignored_and_named(place: str) -> None:
    stored_spec = StoredSpec(put(stored(), under(place, "zone"), "a"), SPEC_VERSION)
    assert stored_spec.spec == JobSpec.model_validate(ASKED) and stored_spec.ignored == [under(place, "zone")]
    with pytest.raises(UnreadableSpec, match=f"unknown field '{under(place, 'zone')}'; clone the job with .* null"):
        stored_spec.exact()


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_key_that_says_nothing_is_no_loss(place: str) -> None:
    for version in (SPEC_VERSION, SPEC_VERSION + 1):
        assert StoredSpec(put(stored(), under(place, "zone"), None), version).exact() == JobSpec.model_validate(ASKED)


@pytest.mark.parametrize("block", ["algorithm", "dataset", "optimizer", "resources", "evaluation", "checkpoint"])
def test_missing_keys_have_their_defaults(block: str) -> None:
    document = stored()
    document[block] = {key: value for key, value in document[block].items() if key in ("type", "source")}
    assert StoredSpec(document, 1).spec == JobSpec.model_validate(ASKED)


@pytest.mark.parametrize("block", ["optimizer", "lora", "evaluation", "checkpoint", "resources", "tags", "packing"])
def test_missing_blocks_have_their_defaults(block: str) -> None:
    document = stored()
    del document[block]
    assert StoredSpec(document, 1).spec == JobSpec.model_validate(ASKED)


@pytest.mark.parametrize(("place", "value"), WRONG.items())
def test_what_cannot_be_understood_names_field_version_and_remedy(place: str, value: Any) -> None:
    with pytest.raises(UnreadableSpec) as caught:
        _ = StoredSpec(put(stored(), place, value), 1).spec
    assert not isinstance(caught.value, NewerSpec)
    assert caught.value.param and (caught.value.param.startswith(place) or place.startswith(caught.value.param))
    message = f"the stored spec (version 1) cannot be read: {caught.value.param}: "
    assert caught.value.message.startswith(message) and caught.value.remedy.startswith("clone the job with another")


@pytest.mark.parametrize("document", [None, [], "grpo", 3])
def test_what_is_no_document_cannot_be_read(document: Any) -> None:
    with pytest.raises(UnreadableSpec, match="must be a block of fields"):
        _ = StoredSpec(document, 1).spec


def test_a_preset_that_is_gone_or_has_changed_is_nothing_to_a_row() -> None:
    document = put(stored(), "algorithm.preset", "forgotten")
    del document["algorithm"]["beta"]
    assert StoredSpec(document, 1).spec.algorithm.preset == "forgotten"
    renamed = put(put(stored(), "algorithm.preset", "dapo"), "steps", 9)
    assert StoredSpec(renamed, 1).spec.steps == 9


@pytest.mark.parametrize("place", PLACES)
def test_a_newer_document_with_an_unknown_key_is_for_newer_code(place: str) -> None:
    stored_spec = StoredSpec(put(stored(), under(place, "zone"), "a"), SPEC_VERSION + 1)
    with pytest.raises(NewerSpec, match=rf"version {SPEC_VERSION + 1}, .* reads version {SPEC_VERSION}: unknown field"):
        _ = stored_spec.spec


@pytest.mark.parametrize(("place", "value"), WRONG.items())
def test_a_newer_document_that_cannot_be_understood_is_for_newer_code(place: str, value: Any) -> None:
    with pytest.raises(NewerSpec, match="upgrade this part of Hone"):
        _ = StoredSpec(put(stored(), place, value), SPEC_VERSION + 1).spec


def test_a_newer_document_without_anything_new_is_read() -> None:
    assert StoredSpec(stored(), SPEC_VERSION + 1).spec == JobSpec.model_validate(ASKED)


def renamed(document: dict[str, Any]) -> dict[str, Any]:
    """A change of a version to come, as it would be written."""
    document["steps"] = document.pop("updates")
    return document


def in_thousands(document: dict[str, Any]) -> dict[str, Any]:
    document["steps"] *= 1000
    return document


def test_an_older_document_takes_one_step_for_each_version_since() -> None:
    old = stored()
    old["updates"] = old.pop("steps")
    changes = {1: renamed, 3: in_thousands}
    assert StoredSpec(old, 1, current=4, upcasters=changes).spec.steps == 7000
    assert StoredSpec(stored(), 2, current=4, upcasters=changes).spec.steps == 7000
    assert StoredSpec(stored(), 4, current=4, upcasters=changes).spec.steps == 7
    assert "updates" in old  # what a row has is not touched


def test_an_upcaster_that_fails_makes_the_spec_unreadable() -> None:
    with pytest.raises(UnreadableSpec, match="version 1 cannot be changed into 2: KeyError: 'updates'"):
        _ = StoredSpec(stored(), 1, current=2, upcasters={1: renamed}).spec


def test_resources_are_read_alone() -> None:
    assert StoredSpec({"resources": {"gpus": 2, "zone": "a"}}, 1).resources.gpus == 2
    with pytest.raises(NewerSpec, match=r"resources\.zone"):
        _ = StoredSpec({"resources": {"zone": "a"}}, SPEC_VERSION + 1).resources
    with pytest.raises(UnreadableSpec, match=r"resources\.gpus: Input should be a valid integer"):
        _ = StoredSpec({"resources": {"gpus": "two"}}, 1).resources


def test_every_text_of_a_document_is_found() -> None:
    assert list(texts({"a": ["b", {"c": "d"}], "e": 1, "f": None})) == ["b", "d"]


def fields(schema: Any, definitions: Any, path: str = "") -> set[str]:
    """The dotted paths of all fields below a JSON schema; those of the members of a union together."""
    names: set[str] = set()
    for inner in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *filter(None, [schema.get("items")])):
        names |= fields(inner, definitions, path)
    if "$ref" in schema:
        names |= fields(definitions[schema["$ref"].rpartition("/")[2]], definitions, path)
    for name, inner in schema.get("properties", {}).items():
        names |= {f"{path}{name}"} | fields(inner, definitions, f"{path}{name}.")
    return names


def test_a_spec_with_other_fields_has_another_version() -> None:
    schema = JobSpec.model_json_schema()
    recorded = Path(__file__).with_name(f"spec_fields_{SPEC_VERSION}.json")
    names = sorted(fields(schema, schema["$defs"]))
    assert names == json.loads(recorded.read_text()), (
        "the fields of a spec have changed: raise SPEC_VERSION in service/domain/stored.py, write an upcaster for what "
        f"was renamed or removed, and record the fields beside {recorded.name}"
    )


def test_only_earlier_versions_have_upcasters() -> None:
    assert all(1 <= version < SPEC_VERSION for version in UPCASTERS)
