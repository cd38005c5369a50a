import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Hone = Callable[..., Any]
SPEC = {
    "name": "from the command line",
    "algorithm": {"type": "sft", "batch_size": 4},
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3},
    "steps": 4,
    "checkpoint": {"every": 2},
}
WAITS: dict[str, Any] = SPEC | {"resources": {"gpus": 1}}  # no worker here has them: nothing is trained


def refusal(done: Any) -> str:
    """The one line of a refused command."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return str(done.stderr)


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "sft.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


@pytest.fixture(scope="module")
def done(server: Any) -> str:
    """The id of a job that has succeeded."""
    job = server.submit(**SPEC)
    assert server.wait(job["id"])["status"] == "succeeded"
    return str(job["id"])


def test_submit_prints_the_id_and_watching_ends_with_the_job(hone: Hone, spec_file: Path) -> None:
    shown = hone("submit", spec_file, "--watch")
    assert shown.returncode == 0, shown.stderr
    job_id, *news = shown.stdout.splitlines()
    assert job_id.startswith("ftjob-")
    assert any("checkpoint at step 4" in line for line in news)
    assert news[-1].startswith(f"{job_id} succeeded after 4 steps")


def test_a_file_of_rows_that_a_spec_names_is_uploaded(hone: Hone, tmp_path: Path, server: Any) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1+1=", "completion": "2", "answer": "2"}\n' * 4)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC | {"dataset": {"source": "./rows.jsonl"}, "steps": 1}))
    job = server.wait(hone("submit", tmp_path / "spec.yaml").stdout.strip())
    assert job["status"] == "succeeded" and job["spec"]["dataset"]["source"].startswith("file-")


def test_a_file_of_rows_that_is_not_there_is_named(hone: Hone, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC | {"dataset": {"source": "./gone.jsonl"}}))
    assert "dataset.source" in refusal(hone("submit", tmp_path / "spec.yaml"))


def test_json_is_as_good_as_yaml(hone: Hone, tmp_path: Path) -> None:
    (tmp_path / "sft.json").write_text(json.dumps(WAITS))
    job_id = hone("submit", tmp_path / "sft.json").stdout.strip()
    assert job_id.startswith("ftjob-")
    hone("cancel", job_id)


def test_watching_a_job_that_did_not_succeed_says_so_with_its_exit_status(hone: Hone, tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(WAITS))
    job_id = hone("submit", tmp_path / "sft.yaml").stdout.strip()
    hone("cancel", job_id)
    followed = hone("watch", job_id)
    assert followed.returncode == 1 and "cancelled" in followed.stdout


def test_jobs_are_lines_with_tabs_where_nobody_looks(hone: Hone, done: str) -> None:
    rows = [line.split("\t") for line in hone("jobs").stdout.splitlines()]
    row = next(row for row in rows if row[0] == done)
    assert row[1:4] == ["succeeded", "sft", "4/4"]
    assert row[5] == "from the command line"
    assert hone("jobs", "--status", "failed").stdout.count(done) == 0


def test_show_prints_a_spec_that_can_be_submitted_again(hone: Hone, done: str, server: Any) -> None:
    facts, _, document = hone("show", done).stdout.partition("\n\n")
    assert "progress\tstep 4 of 4, attempt 1" in facts
    assert facts.count("checkpoint\tckpt_") == 2
    again = yaml.safe_load(document)
    with server.client() as http:
        spec = http.get(f"/v1/jobs/{done}").json()["spec"]
        assert http.post("/v1/jobs", json=again).json()["spec"] == spec


def test_logs_are_the_lines_of_the_trainer(hone: Hone, done: str) -> None:
    once = hone("logs", done)
    assert once.returncode == 0
    assert "parameters on cpu" in once.stdout
    assert hone("logs", done, "--follow").stdout == once.stdout


@pytest.mark.parametrize("which", ["", "@latest", "@best", "@step-4"])
@pytest.mark.parametrize("options", [[], ["--all"]])
def test_pull_writes_the_model_and_all_of_the_checkpoint_if_asked(
    hone: Hone, done: str, tmp_path: Path, which: str, options: list[str], server: Any
) -> None:
    pulled = hone("pull", f"{done}{which}", tmp_path / "model", *options)
    assert pulled.returncode == 0, pulled.stderr
    with server.client() as http:
        newest = http.get(f"/v1/jobs/{done}/checkpoints").json()["data"][0]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "model").iterdir()}
    expected = {file["name"]: file["sha256"] for file in newest["files"]}
    training = {"trainer.pt"} & expected.keys()
    assert training and newest["export_bytes"] < newest["bytes"]
    assert hashes == {name: expected[name] for name in expected if options or name not in training}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_pull_by_id_and_of_an_earlier_step(hone: Hone, done: str, tmp_path: Path, server: Any) -> None:
    with server.client() as http:
        earlier = http.get(f"/v1/jobs/{done}/checkpoints").json()["data"][1]
    assert "step 2 of" in hone("pull", earlier["id"], tmp_path / "by-id").stdout
    assert "step 2 of" in hone("pull", f"{done}@step-2", tmp_path / "by-step").stdout


def test_pull_refuses_what_is_not_there_and_what_is_there_already(hone: Hone, done: str, tmp_path: Path) -> None:
    assert f"no checkpoint 'step-3'; it has: {done}@step-4" in refusal(hone("pull", f"{done}@step-3", tmp_path / "x"))
    assert "no checkpoint ckpt_nope" in refusal(hone("pull", "ckpt_nope", tmp_path / "x"))
    (tmp_path / "notes.txt").write_text("mine")
    assert "is not an empty directory" in refusal(hone("pull", done, tmp_path))


def test_upload_prints_the_id_of_the_file(hone: Hone, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1 + 1 =", "completion": " 2"}\n')
    uploaded = hone("upload", tmp_path / "rows.jsonl")
    assert uploaded.stdout.startswith("file-"), uploaded.stderr
    assert "1 rows" in uploaded.stderr


def test_upload_names_the_lines_that_cannot_be_used(hone: Hone, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1 + 1 =", "completion": " 2"}\nnot json\n')
    assert "line 2" in refusal(hone("upload", tmp_path / "rows.jsonl"))


def test_cancel_of_a_job_that_has_ended_is_refused(hone: Hone, done: str) -> None:
    assert refusal(hone("cancel", done)) == "hone: cannot cancel a succeeded job\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is neither YAML nor JSON"),
        ("- one\n- two\n", "not a spec"),
        ("name: 2026-01-31", "name is a date; put it in quotes"),
        ("name: 2026-02-31", "is neither YAML nor JSON: day is out of range"),
        ("optimizer: {learning_rate: .inf}", "optimizer.learning_rate is inf, which JSON cannot say"),
        ("algorithm: {type: grpo, num_generation: 3}\ndataset: {}", "did you mean 'num_generations'"),
        ("algorithm: {type: sft, batch_size: 0}\ndataset: {}", "algorithm.batch_size"),
    ],
)
def test_a_bad_spec_is_refused_in_one_line(hone: Hone, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert message in refusal(hone("submit", tmp_path / "bad.yaml"))


def test_refusals_name_what_to_do(hone: Hone, tmp_path: Path) -> None:
    assert "start one with `hone up`" in refusal(hone("jobs", HONE_DATA_DIR=str(tmp_path)))
    assert "this API key is unknown" in refusal(hone("jobs", "--key", "wrong"))
    assert "no service answers at http://127.0.0.1:1" in refusal(
        hone("jobs", "--url", "http://127.0.0.1:1", "--key", "k")
    )
    assert "give --key or set HONE_API_KEY" in refusal(hone("jobs", "--url", "http://127.0.0.1:1"))
    assert "no job ftjob-none" in refusal(hone("show", "ftjob-none"))


def test_wrong_usage_exits_with_2(hone: Hone) -> None:
    assert hone("jobs", "--limit", "0").returncode == 2
    assert hone("submit", "/no/such/file.yaml").returncode == 2


def test_the_environment_names_service_and_key(hone: Hone, server: Any, tmp_path: Path) -> None:
    listed = hone("jobs", HONE_DATA_DIR=str(tmp_path), HONE_URL=server.url, HONE_API_KEY=server.key)
    assert listed.returncode == 0, listed.stderr


def test_login_prints_a_link_that_works_once(hone: Hone, server: Any) -> None:
    link = hone("login").stdout.strip()
    assert link.startswith(f"{server.url}/#/login/")
    with server.client() as http:
        token = {"token": link.rpartition("/")[2]}
        assert [http.post("/v1/login", json=token).status_code for _ in range(2)] == [201, 401]


def test_create_key_shows_a_secret_that_works(hone: Hone, server: Any, tmp_path: Path) -> None:
    url = f"postgresql://hone@/hone?host={(server.data_dir / 'sockets').readlink()}"
    secret = hone("create-key", "--owner", "ann", "--role", "viewer", DATABASE_URL=url).stdout.strip()
    assert hone("jobs", HONE_API_KEY=secret).returncode == 0
    hone("create-key", "--owner", "ann", "--file", tmp_path / "key", DATABASE_URL=url)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert hone("jobs", HONE_API_KEY=(tmp_path / "key").read_text().strip()).returncode == 0


def test_migrating_twice_is_fine_and_a_database_that_is_away_is_named(hone: Hone, server: Any) -> None:
    url = f"postgresql://hone@/hone?host={(server.data_dir / 'sockets').readlink()}"
    assert hone("migrate", DATABASE_URL=url).returncode == 0
    away = refusal(hone("migrate", DATABASE_URL="postgresql://u:secret@127.0.0.1:1/hone"))
    assert "no PostgreSQL answers at 127.0.0.1:1/hone" in away
    assert "secret" not in away
    assert "is not postgresql://" in refusal(hone("migrate", DATABASE_URL="sqlite:///x"))


def test_the_command_starts_without_loading_what_it_may_not_need() -> None:
    heavy = {"torch", "pydantic", "httpx2", "sqlalchemy", "fastapi", "psycopg", "yaml"}
    code = f"import sys, hone.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_version(hone: Hone) -> None:
    assert hone("--version").stdout.startswith("hone 0.")


def test_a_promoted_checkpoint_is_not_dropped_until_that_is_undone(hone: Hone, done: str) -> None:
    name = f"{done}@step-2"
    assert hone("promote", name).stdout.rstrip().endswith(f"step 2 of {done}, promoted")
    assert "promoted" in hone("show", done).stdout
    assert "demote it first" in refusal(hone("drop", name))
    assert hone("promote", name, "--undo").stdout.rstrip().endswith("not promoted")
    assert hone("drop", name).stdout.rstrip().endswith("is deleted")
    assert "has no checkpoint 'step-2'" in refusal(hone("drop", name))
