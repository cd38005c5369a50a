"""Settings come from the environment; what is missing or wrong is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service import settings

SERVERS = {"DATABASE_URL": "postgresql://host/hone", "REDIS_URL": "redis://host", "STORAGE_URL": "/storage"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in SERVERS.items():
        monkeypatch.setenv(name, value)
    settings.load.cache_clear()
    yield
    settings.load.cache_clear()


def test_lists_are_written_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_WORKER_GPUS", "0,2")
    monkeypatch.setenv("HONE_MODEL_ROOTS", "/a:/b")
    config = settings.load()
    assert config.worker_gpus == [0, 2] and config.model_roots == [Path("/a"), Path("/b")]


def test_models_are_below_the_data_directory_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_DATA_DIR", "/data")
    assert settings.load().model_roots == [Path("/data/models")]


def test_every_missing_and_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("HONE_WORKER_GPUS", "first")
    with pytest.raises(SystemExit) as refusal:
        settings.load()
    assert "DATABASE_URL" in str(refusal.value) and "HONE_WORKER_GPUS" in str(refusal.value)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = settings.load().model_dump()
    settings.load.cache_clear()
    for name, field in settings.Settings.model_fields.items():
        if not field.is_required():
            monkeypatch.setenv(field.alias or name.upper(), "")
    assert settings.load().model_dump() == expected


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_an_empty_server_is_a_missing_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    with pytest.raises(SystemExit, match=f"{name}: Field required"):
        settings.load()
