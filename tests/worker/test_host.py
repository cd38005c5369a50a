"""The description of a worker's machine."""

import logging
import sys
from pathlib import Path

import pynvml
import pytest

from worker import host


def test_memory_is_that_of_the_container_where_it_is_limited(tmp_path: Path) -> None:
    whole = host.memory_bytes(tmp_path)
    assert whole > 0
    (tmp_path / "memory.max").write_text("max\n")
    assert host.memory_bytes(tmp_path) == whole
    (tmp_path / "memory.max").write_text("1000\n")
    assert host.memory_bytes(tmp_path) == 1000


def test_a_gpu_that_no_driver_knows_has_its_number_and_nothing_is_printed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", _no_driver)
    with caplog.at_level(logging.DEBUG):
        assert host.gpus([1]) == [{"index": 1, "name": "GPU 1", "memory_bytes": 0}]
    assert host.gpus([]) == []
    assert not caplog.records and capfd.readouterr() == ("", "")


def _no_driver() -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def test_versions_are_read_without_importing_anything() -> None:
    before = "torch" in sys.modules
    assert {"python", "torch", "transformers"} <= set(host.versions())
    assert ("torch" in sys.modules) == before
