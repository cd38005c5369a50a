"""Loaders of datasets by the schema that names them; the functions are in `sources/`."""

from collections.abc import Callable, Mapping
from typing import Any

from service.domain.datasets import Dataset
from worker.training.registry import Registry

Row = dict[str, Any]
Loader = Callable[[Any, Mapping[str, str], str, list[str]], list[Row]]
"""From the schema, the uploaded files by id, and the field of the spec (for messages) to all rows; sentences about them
are added to the last argument."""
SOURCES: Registry[type[Dataset], Loader] = Registry("dataset source", "worker.training.data.sources")
source = SOURCES.entry
