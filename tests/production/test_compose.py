"""What docker-compose.yml promises, read from the file."""

import re
from pathlib import Path
from typing import Any

import pytest

from service.local.embedded import wheels
from service.settings import Settings

OURS = ("migrate", "api", "dispatcher", "worker", "worker-gpu")
SERVERS = ("postgres", "redis")
WORKERS = ("worker", "worker-gpu")
LONG_RUNNING = (*SERVERS, "api", "dispatcher", *WORKERS)
LIBRARY_SETTINGS = {"HF_HOME", "FORWARDED_ALLOW_IPS"}  # read by huggingface_hub and uvicorn


def volumes(service: dict[str, Any]) -> dict[str, str]:
    """Mount point to volume, whose name is empty if each container has its own."""
    named = [volume if ":" in volume else f":{volume}" for volume in service.get("volumes", [])]
    return {target: name for name, target, *_ in (volume.split(":") for volume in named)}


def test_the_file_has_the_services_that_the_design_names_and_no_version(compose: Any) -> None:
    assert set(compose.services()) == {*SERVERS, *OURS}
    assert "version" not in compose.document({"POSTGRES_PASSWORD": "a", "REDIS_PASSWORD": "b"})


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "REDIS_PASSWORD"])
@pytest.mark.parametrize("empty", [True, False])
def test_compose_refuses_to_start_without_a_password_and_says_where_to_set_it(
    compose: Any, refused: type[Exception], missing: str, empty: bool
) -> None:
    environment = {"POSTGRES_PASSWORD": "a", "REDIS_PASSWORD": "b", missing: ""}
    with pytest.raises(refused, match=rf"{missing}: .*\.env\.example"):
        compose.document({name: value for name, value in environment.items() if value or empty})


def test_no_secret_has_a_default(compose: Any) -> None:
    secret = {name: how for name, how in compose.variables.items() if re.search("PASSWORD|SECRET|KEY|TOKEN", name)}
    assert secret == {"POSTGRES_PASSWORD": {"?"}, "REDIS_PASSWORD": {"?"}}
    assert all(how == {"-"} for name, how in compose.variables.items() if name not in secret)


def test_the_example_names_every_variable_with_its_default_and_holds_no_secret(compose: Any, root: Path) -> None:
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (root / ".env.example").read_text(), re.MULTILINE))
    assert set(example) == set(compose.variables)
    assert example["POSTGRES_PASSWORD"] == example["REDIS_PASSWORD"] == ""
    filled = {name: value for name, value in example.items() if value}
    assert compose.services(**filled) == compose.services()
    assert ".env" in (root / ".gitignore").read_text().splitlines()  # where the copy goes


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_every_long_running_service_has_a_health_check_and_comes_back(compose: Any, name: str) -> None:
    service = compose.services()[name]
    assert {"test", "interval", "timeout", "retries", "start_period"} == set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"].endswith("s")


def test_the_migrations_run_once_after_the_database_answers_and_before_everything_else(compose: Any) -> None:
    services = compose.services()
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["migrate"]["restart"] == "no"
    for name in ("api", "dispatcher", *WORKERS):
        assert services[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }


def test_only_the_api_is_published_on_the_loopback_interface_unless_told_otherwise(compose: Any) -> None:
    assert {name for name, service in compose.services().items() if "ports" in service} == {"api"}
    assert compose.services()["api"]["ports"] == ["127.0.0.1:8000:8000"]
    config = compose.services(HONE_BIND="0.0.0.0", HONE_PORT="80")
    assert config["api"]["ports"] == ["0.0.0.0:80:8000"]
    assert not any("network_mode" in service for service in compose.services().values())


@pytest.mark.parametrize("name", OURS)
def test_what_a_service_sets_is_a_setting_and_valid(compose: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    service = compose.services()[name]
    known = {field.alias or name.upper() for name, field in Settings.model_fields.items()}
    assert set(service["environment"]) <= known | LIBRARY_SETTINGS
    for setting in known:
        monkeypatch.delenv(setting, raising=False)
    for setting, value in service["environment"].items():
        monkeypatch.setenv(setting, value)
    settings = Settings()  # raises if a value is not valid
    assert settings.worker_gpus == ([0] if name == "worker-gpu" else [])
    assert settings.model_roots == [Path("/models")]


def test_every_named_volume_is_declared_and_used(compose: Any) -> None:
    used = {name for service in compose.services().values() for name in volumes(service).values() if name}
    assert used == set(compose.document({"POSTGRES_PASSWORD": "a", "REDIS_PASSWORD": "b"})["volumes"])


@pytest.mark.parametrize("name", ["api", *WORKERS])
def test_who_handles_files_shares_the_storage_and_the_models_but_no_scratch_space(compose: Any, name: str) -> None:
    service = compose.services()[name]
    mounted = volumes(service)
    assert mounted[service["environment"]["STORAGE_URL"]] == "storage"
    assert mounted["/models"] == "models"
    assert mounted[service["environment"]["HONE_DATA_DIR"]] == ""


@pytest.mark.parametrize("name", [*SERVERS, *OURS])
def test_no_container_runs_as_root_gains_rights_or_writes_outside_its_mounts(compose: Any, name: str) -> None:
    service = compose.services()[name]
    assert service["init"] is True
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in ("root", "0") if name in SERVERS else "user" not in service  # the image has its own


def test_nothing_depends_on_a_moving_image(compose: Any) -> None:
    images = {name: service["image"] for name, service in compose.services().items() if "image" in service}
    postgres, valkey = (wheel.version.split(".")[0] for wheel in (wheels.POSTGRES, wheels.VALKEY))
    assert images == {"postgres": f"postgres:{postgres}", "redis": f"valkey/valkey:{valkey}"}  # as `hone up` runs
    assert all(compose.services()[name]["build"]["context"] == "." for name in OURS)


def test_redis_never_evicts_a_doorbell_and_keeps_its_password_out_of_the_arguments(compose: Any) -> None:
    script = compose.services()["redis"]["command"][-1]
    options, _, standard_input = script.partition("<<END")
    assert "--maxmemory-policy noeviction" in options
    assert "PASSWORD" not in options
    assert "requirepass $PASSWORD" in standard_input


def test_the_gpu_worker_is_a_worker_that_is_asked_for_and_gets_the_cards(compose: Any) -> None:
    plain, gpu = (compose.services()[name] for name in WORKERS)
    assert gpu["profiles"] == ["gpu"]
    assert not any("profiles" in service for name, service in compose.services().items() if name != "worker-gpu")
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert gpu["command"] == plain["command"]
    assert "args" not in gpu["build"]  # an index of CPU builds is not for it
    assert "shm_size" in gpu
