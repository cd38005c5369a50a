"""What the operator sets, from the environment. Read by entry points only."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.domain.root_paths import root_path


class Settings(BaseSettings):
    """Each field is an environment variable of the same name in capitals; HONE_ variables have their name as alias."""

    model_config = SettingsConfigDict(
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,  # `NAME=` in an .env file, or a variable that a compose file hands on: not set
    )

    database_url: str = Field(min_length=1, description="PostgreSQL, e.g. postgresql+psycopg://user:password@host/hone")
    redis_url: str = Field(min_length=1, description="Redis or Valkey, e.g. redis://host:6379/0 or unix:///path.sock")
    storage_url: str = Field(min_length=1, description="a directory or an fsspec URL for files and checkpoints")
    data_dir: Path = Field(
        Path("/tmp/hone"), alias="HONE_DATA_DIR", description="scratch space of this machine: uploads, running trainers"
    )
    model_roots: Annotated[list[Path], NoDecode] = Field(
        default_factory=list,
        alias="HONE_MODEL_ROOTS",
        description="directories that a spec's `model` may name, separated by colons; empty: HONE_DATA_DIR/models",
    )
    max_upload_bytes: int = Field(
        512 * 2**20, alias="HONE_MAX_UPLOAD_BYTES", ge=1, description="size limit of an uploaded file"
    )
    cache_bytes: int = Field(
        100 * 2**30,
        alias="HONE_CACHE_BYTES",
        ge=0,
        description="size limit of the local cache of remote files; least recently used files are evicted first",
    )
    storage_patience_seconds: float = Field(
        300.0,
        alias="HONE_STORAGE_PATIENCE_SECONDS",
        ge=0,
        description="how long fetching what a job needs is tried before its slot is handed back",
    )
    lease_seconds: float = Field(
        30.0,
        alias="HONE_LEASE_SECONDS",
        gt=0,
        description="time without a heartbeat after which a worker counts as dead",
    )
    poll_seconds: float = Field(
        3.0, alias="HONE_POLL_SECONDS", gt=0, description="how often a worker looks for jobs without a doorbell"
    )
    grace_seconds: float = Field(
        20.0, alias="HONE_GRACE_SECONDS", ge=0, description="how long a stopping worker waits for its jobs to save"
    )
    silence_seconds: float = Field(
        120.0,
        alias="HONE_SILENCE_SECONDS",
        gt=0,
        description="time without a heartbeat after which a trainer is killed",
    )
    worker_slots: int = Field(
        1, alias="HONE_WORKER_SLOTS", ge=1, le=64, description="jobs that one worker runs at the same time"
    )
    worker_gpus: Annotated[list[int], NoDecode] = Field(
        default_factory=list, alias="HONE_WORKER_GPUS", description="GPUs that this worker may use, e.g. 0,1"
    )
    spare_trainer: bool = Field(
        True,
        alias="HONE_SPARE_TRAINER",
        description="keep a process that has imported torch, so that jobs start at once",
    )
    webhook_allow_private: bool = Field(
        False,
        alias="HONE_WEBHOOK_ALLOW_PRIVATE",
        description="allow webhooks to loopback and private addresses; `hone up` on loopback sets it",
    )
    max_log_bytes: int = Field(
        64 * 2**20,
        alias="HONE_MAX_LOG_BYTES",
        ge=1,
        description="log bytes kept per attempt; past the limit only the last lines are kept",
    )
    retention_days: float | None = Field(
        None,
        alias="HONE_RETENTION_DAYS",
        ge=0,
        description="days for which logs, samples and metric events of ended jobs are kept; empty: for ever",
    )
    sweep_seconds: float = Field(
        3600.0,
        alias="HONE_SWEEP_SECONDS",
        gt=0,
        description="how often files without a row are deleted from the storage, and how old they must be",
    )
    root_path: str = Field(
        "",
        alias="HONE_ROOT_PATH",
        description="path below which a proxy offers the service, e.g. /hone; the proxy may remove it or not",
    )
    trust_forwarded_prefix: bool = Field(
        False,
        alias="HONE_TRUST_FORWARDED_PREFIX",
        description="take that path from X-Forwarded-Prefix; only behind a proxy that sets or removes this header",
    )
    log_level: str = Field("INFO", alias="HONE_LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("root_path")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        return root_path(value)

    @field_validator("worker_gpus", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("model_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _default_root(self) -> Self:
        self.model_roots = self.model_roots or [self.data_dir / "models"]
        return self


@lru_cache
def load() -> Settings:
    """The settings of this process, or an exit that names each variable that is missing or wrong."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{str(e['loc'][0]).upper()}: {e['msg']} (environment variable)" for e in error.errors()]
        raise SystemExit("hone: cannot start\n  " + "\n  ".join(lines)) from None
