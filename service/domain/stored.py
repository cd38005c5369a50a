"""Stored specs: the documents in rows, which other versions of Hone may have written. They are read leniently.

A request is read strictly (`specs.py`), because its author can correct it. Nobody can correct a stored spec, and one
that cannot be read must not stop the list of all jobs, the claim of a worker, or another job. So every row has the
version of the spec's fields, and this module reads it by these rules:

- `UPCASTERS` change an older document first, one step for each version that changed the meaning of a key;
- missing keys have their defaults, unknown keys are ignored, and `ignored` names them;
- a document that cannot be read raises one error, UnreadableSpec, which names field, value, version and remedy;
- a document of a newer version is read only if nothing of it would be lost: NewerSpec otherwise. Waiting for a worker
  that knows the key is better than training something else than the user asked for.

A new field, and any change of one, makes a new version: `tests/service/domain/test_stored.py` compares the fields with
those that were recorded for SPEC_VERSION.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hone.documents.validation import LENIENT
from hone.errors import NewerSpec, UnreadableSpec
from service.domain.sentences import dotted, sentence
from service.domain.specs import JobSpec, ResourcesSpec

Document = dict[str, Any]
M = TypeVar("M", bound=BaseModel)

SPEC_VERSION = 2
"""The version of the specs that this code writes. Rows without a version are of the first one."""
UPCASTERS: Mapping[int, Callable[[Document], Document]] = {}
"""By version, the step to the next one; it may change its argument. A version that only added fields has no step."""


class StoredSpec:
    """A document and its version. Each property is computed when it is first used, and cached."""

    def __init__(
        self,
        document: Any,
        version: int,
        current: int = SPEC_VERSION,
        upcasters: Mapping[int, Callable[[Document], Document]] = UPCASTERS,
    ) -> None:
        self._document = document
        self._version = version
        self._current = current
        self._upcasters = upcasters

    @cached_property
    def document(self) -> Document:
        """The document as this version would write it, unknown keys included."""
        if not isinstance(self._document, dict):
            raise self._unreadable(f"it must be a block of fields, but is {self._document!r:.60}")
        document = self._document
        for version in range(self._version, self._current):
            upcast = self._upcasters.get(version)
            if upcast is not None:
                try:
                    document = upcast(deepcopy(document))
                except Exception as error:  # upcasters may meet any document
                    what = f"version {version} cannot be changed into {version + 1}: {type(error).__name__}: {error}"
                    raise self._unreadable(what) from error
        return document

    @cached_property
    def spec(self) -> JobSpec:
        """The whole spec; raises UnreadableSpec, or NewerSpec if the document has more than this code knows."""
        return self._read(JobSpec, self.document)

    @cached_property
    def resources(self) -> ResourcesSpec:
        """The `resources` block alone: a claim looks at many jobs that do not fit."""
        block = self.document.get("resources")
        return self._read(ResourcesSpec, {} if block is None else block, "resources")

    @cached_property
    def ignored(self) -> list[str]:
        """The dotted keys that this code does not know and whose values are not null."""
        return list(_unknown(self.document, self.spec.model_dump()))

    def exact(self) -> JobSpec:
        """The spec for a job that must be the same again; raises UnreadableSpec if a key would be ignored."""
        if self.ignored:
            raise self._lost(self.ignored[0])
        return self.spec

    def _read(self, model: type[M], document: Any, field: str = "") -> M:
        try:
            read = model.model_validate(document, strict=False, context=LENIENT)
        except ValidationError as error:
            first = error.errors()[0]
            location = (field, *first["loc"]) if field else first["loc"]
            whole = {field: document} if field else document
            raise self._unreadable(sentence({**first, "loc": location}, whole), dotted(location, whole)) from None
        except Exception as error:  # validators may meet any value here
            raise self._unreadable(f"{type(error).__name__}: {error}", field or None) from error
        if self._version > self._current:
            lost = next(_unknown(document, read.model_dump(), f"{field}." if field else ""), None)
            if lost is not None:
                raise self._lost(lost)
        return read

    def _unreadable(self, what: str, field: str | None = None) -> UnreadableSpec:
        if self._version > self._current:
            return NewerSpec(f"{self._newer}: {what}", param=field, remedy="upgrade this part of Hone")
        reason = f"the stored spec (version {self._version}) cannot be read: {what}"
        remedy = f"clone the job with another value of {field}" if field else "submit the job again"
        return UnreadableSpec(reason, param=field, remedy=remedy)

    def _lost(self, field: str) -> UnreadableSpec:
        if self._version > self._current:
            return NewerSpec(f"{self._newer}: unknown field '{field}'", param=field, remedy="upgrade this part of Hone")
        reason = f"the stored spec (version {self._version}) has the unknown field '{field}'"
        return UnreadableSpec(reason, param=field, remedy=f"clone the job with {field} set to null to leave it out")

    @property
    def _newer(self) -> str:
        return f"the stored spec is of version {self._version}, but this part of Hone reads version {self._current}"


def without_unknown_nulls(document: Document) -> Document:
    """The document without keys that this code does not know and whose values are null: they ask for nothing."""
    try:
        known = JobSpec.model_validate(document, strict=False, context=LENIENT).model_dump()
    except Exception:  # noqa: BLE001 - whoever validates it strictly says what is wrong
        return document
    return dict(_without_unknown_nulls(document, known))


def _without_unknown_nulls(document: Any, known: Any) -> Any:
    if isinstance(document, dict) and isinstance(known, dict):
        return {
            key: _without_unknown_nulls(value, known.get(key))
            for key, value in document.items()
            if key in known or value is not None
        }
    if isinstance(document, list) and isinstance(known, list) and len(document) == len(known):
        return [_without_unknown_nulls(item, read) for item, read in zip(document, known, strict=True)]
    return document


def texts(document: Any) -> Iterator[str]:
    """All strings in a document: finds the names of models even in specs that cannot be read."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from texts(value)


def _unknown(document: Any, known: Any, path: str = "") -> Iterator[str]:
    """The dotted keys of the document that `known` lacks. Null values do not count."""
    if isinstance(document, dict) and isinstance(known, dict):
        for key, value in document.items():
            if key in known:
                yield from _unknown(value, known[key], f"{path}{key}.")
            elif value is not None:
                yield f"{path}{key}"
    elif isinstance(document, list) and isinstance(known, list):
        for index, (item, read) in enumerate(zip(document, known, strict=False)):
            yield from _unknown(item, read, f"{path}{index}.")
