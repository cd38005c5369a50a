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
SERVER_URLS = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL")
SETTINGS = {field.alias or name.upper() for name, field in Settings.model_fields.items()}
IN_THE_IMAGE = {"HONE_DATA_DIR", "HONE_MODEL_ROOTS"}  # mount points
SECRET = re.compile("PASSWORD|SECRET|(?<!VAL)KEY|TOKEN")
HANDING_BACK_SECONDS, CELERY_SECONDS = 10, 3  # of worker/app.py, which starts a worker when it is imported
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


@pytest.mark.parametrize("missing", SERVER_URLS)
def test_workers_of_another_host_refuse_to_start_without_a_server_and_say_where_to_set_it(
    workers: Any, refused: type[Exception], missing: str
) -> None:
    with pytest.raises(refused, match=rf"{missing}: .*\.env\.example"):
        workers.services(**{missing: ""})


def test_no_secret_has_a_default(compose: Any, workers: Any) -> None:
    for file in (compose, workers):
        secret = {name: how for name, how in file.variables.items() if SECRET.search(name)}
        assert {name: how for name, how in secret.items() if how != {""}} == (
            {"POSTGRES_PASSWORD": {"?"}, "REDIS_PASSWORD": {"?"}} if file is compose else {}
        )


def test_the_example_names_every_variable_with_its_default_and_holds_no_secret(
    compose: Any, published: Any, workers: Any, root: Path
) -> None:
    example = dict(re.findall(r"^#?([A-Z0-9_]+)=(.*)$", (root / ".env.example").read_text(), re.MULTILINE))
    assert set(example) == {*compose.variables, *published.variables, *workers.variables}
    assert not [value for name, value in example.items() if SECRET.search(name) and value]
    settings = {field.alias or name.upper(): name for name, field in Settings.model_fields.items()}
    needed: dict[str, Any] = dict.fromkeys(SERVER_URLS, "-")
    defaults = Settings(**needed)
    for name, shown in example.items():
        if name in settings and settings[name] not in ("database_url", "redis_url", "storage_url", "worker_gpus"):
            given = Settings(**needed | ({name: shown} if shown else {}))
            assert getattr(given, settings[name]) == getattr(defaults, settings[name]), name
        elif shown:
            assert shown == compose.defaults.get(name, shown), name
    for name, default in compose.defaults.items():
        assert example[name] == default or name in (*SERVER_URLS, "HONE_STORAGE"), name
    assert ".env" in (root / ".gitignore").read_text().splitlines()  # where the copy goes


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("api", {"HONE_WORKER_SLOTS", "HONE_WORKER_GPUS"}),
        ("dispatcher", {"HONE_WORKER_SLOTS", "HONE_WORKER_GPUS"}),
        ("worker", {"HONE_WORKER_GPUS"}),
        ("worker-gpu", {"HONE_WORKER_SLOTS"}),  # it has those of HONE_GPU_WORKER_SLOTS: the two kinds may differ
    ],
)
def test_every_setting_can_be_given_in_env_and_reaches_those_who_read_it(
    compose: Any, workers: Any, name: str, lacking: set[str]
) -> None:
    given = {variable: f"value of {variable}" for variable in SETTINGS - IN_THE_IMAGE}
    for file in (compose, workers) if name in WORKERS else (compose,):
        reached = file.services(**given)[name]["environment"]
        assert {variable for variable, value in given.items() if reached.get(variable) != value} == lacking
        gpu = file.services(HONE_GPU_WORKER_SLOTS="3")["worker-gpu"]["environment"]
        assert gpu["HONE_WORKER_SLOTS"] == "3"


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HF_ENDPOINT", "HONE_TRAINER_ENVIRONMENT"])
def test_what_only_workers_need_reaches_only_workers(compose: Any, variable: str) -> None:
    services = compose.services(**{variable: "x"})
    assert {name for name, service in services.items() if variable in service["environment"]} == set(WORKERS)


def test_a_variable_that_is_not_given_is_absent_so_that_the_settings_have_their_defaults(compose: Any) -> None:
    fixed = {*SERVER_URLS, *IN_THE_IMAGE}
    assert set(compose.services()["api"]["environment"]) == fixed
    assert set(compose.services()["worker"]["environment"]) == {*fixed, "HF_HOME"}


def test_workers_are_the_same_on_every_host(compose: Any, workers: Any) -> None:
    urls = dict.fromkeys(SERVER_URLS, "x")
    for name in WORKERS:
        here, there = (file.services(**urls, HONE_STORAGE="/mnt/hone")[name] for file in (compose, workers))
        assert here | {"depends_on": None} == there | {"depends_on": None}
        assert "depends_on" not in there


def test_a_host_without_shared_storage_stores_nothing_rather_than_something_apart(compose: Any, workers: Any) -> None:
    assert volumes(compose.services()["worker"])["/storage"] == "storage"
    assert volumes(workers.services()["worker"])["/storage"] == "/var/empty"  # a worker that cannot write there ends
    assert volumes(workers.services(HONE_STORAGE="/mnt/hone")["worker"])["/storage"] == "/mnt/hone"


def test_the_servers_are_published_on_the_address_that_is_given_and_only_if_that_is_asked_for(
    published: Any, refused: type[Exception]
) -> None:
    services = published.services()
    assert services["postgres"]["ports"] == ["10.0.0.1:5432:5432"]
    assert services["redis"]["ports"] == ["10.0.0.1:6379:6379"]
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]
    with pytest.raises(refused, match="HONE_SERVERS_BIND"):
        published.services(HONE_SERVERS_BIND="")


@pytest.mark.parametrize("name", [*SERVERS, *OURS])
def test_no_service_takes_the_whole_host_or_fills_its_disk_with_logs(compose: Any, name: str) -> None:
    service = compose.services()[name]
    assert service["logging"] == {"driver": "local", "options": {"max-size": "20m", "max-file": "5"}}
    assert 0 < int(service["pids_limit"]) <= 16384
    assert re.fullmatch(r"\d+[kmg]|0", service["mem_limit"])
    if name in WORKERS:  # their need is that of the jobs: unlimited, but the first to wait and to be killed
        assert service["mem_limit"] == "0" and service["oom_score_adj"] > 0 and service["cpu_shares"] < 1024
        assert compose.services(HONE_WORKER_MEMORY="48g")[name]["mem_limit"] == "48g"
    else:
        assert service["mem_limit"] != "0"


def test_the_control_plane_runs_an_image_without_torch_and_workers_one_with_it(compose: Any) -> None:
    images = {name: service["image"] for name, service in compose.services(HONE_TAG="1.2.3").items() if name in OURS}
    assert images == dict.fromkeys(("migrate", "api", "dispatcher"), "hone/control:1.2.3") | {
        "worker": "hone/worker:1.2.3",
        "worker-gpu": "hone/worker-gpu:1.2.3",
    }
    for name in OURS:
        service = compose.services()[name]
        assert service["build"]["target"] == service["image"].split("/")[1].split(":")[0]


def test_a_worker_is_killed_only_after_it_has_had_the_time_to_hand_its_jobs_back(compose: Any) -> None:
    stop = int(compose.services()["worker"]["stop_grace_period"].removesuffix("s"))
    assert stop > Settings.model_fields["grace_seconds"].default + HANDING_BACK_SECONDS + CELERY_SECONDS
    assert compose.services(HONE_WORKER_STOP="200s")["worker"]["stop_grace_period"] == "200s"


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


def test_nothing_depends_on_a_moving_image_and_each_can_be_pinned_by_digest(compose: Any) -> None:
    images = {name: service["image"] for name, service in compose.services().items() if name in SERVERS}
    postgres, valkey = (release(wheel.version) for wheel in (wheels.POSTGRES, wheels.VALKEY))
    assert images == {"postgres": f"postgres:{postgres[0]}.{postgres[1]}", "redis": f"valkey/valkey:{'.'.join(valkey)}"}
    assert all(compose.services()[name]["build"]["context"] == "." for name in OURS)
    pinned = compose.services(POSTGRES_IMAGE="postgres:18.6@sha256:0a", PYTHON_IMAGE="python:3.11.15@sha256:0b")
    assert pinned["postgres"]["image"] == "postgres:18.6@sha256:0a"
    assert pinned["api"]["build"]["args"]["PYTHON_IMAGE"] == "python:3.11.15@sha256:0b"


def release(version: str) -> list[str]:
    """The server's own version at the beginning of its wheel's."""
    return version.split(".")[:3]


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
    assert "shm_size" in gpu
