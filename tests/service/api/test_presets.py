"""Presets over HTTP and in Python, and a job that uses one."""

from typing import Any

import httpx2
import pytest

from hone.client import ApiError, Client
from service.domain.presets import PRESETS


def test_all_presets_are_listed_with_what_they_set(http: httpx2.Client) -> None:
    page = http.get("/v1/presets").json()
    assert [preset["name"] for preset in page["data"]] == list(PRESETS) and not page["has_more"]
    dapo = next(preset for preset in page["data"] if preset["name"] == "dapo")
    assert dapo["algorithm"] == "grpo" and "arXiv:2503.14476" in dapo["source"]
    assert dapo["fields"]["algorithm"]["clip_eps_high"] == 0.28
    assert dapo["fields"]["optimizer"] == {"learning_rate": 1e-6, "schedule": "constant", "warmup_steps": 20}


def test_a_preset_of_several_stages_tells_them(http: httpx2.Client) -> None:
    preset = http.get("/v1/presets/deepseek_r1").json()
    assert [stage["fields"]["algorithm"].get("preset") for stage in preset["stages"]] == [
        None,
        "deepseek_r1",
        None,
        "deepseek_r1",
    ]


def test_an_unknown_preset_is_404_with_the_nearest_known_one(http: httpx2.Client) -> None:
    answer = http.get("/v1/presets/gspoo")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "preset_not_found"
    assert "did you mean 'gspo'?" in answer.json()["error"]["message"]


def test_without_a_key_no_preset_is_shown(http: httpx2.Client) -> None:
    del http.headers["authorization"]
    assert http.get("/v1/presets").status_code == 401


def test_a_job_may_name_a_preset_alone_and_keeps_its_name(server: Any, http: httpx2.Client) -> None:
    job = server.submit(algorithm={"preset": "trl_sft_default", "batch_size": 4}, optimizer={}, steps=1)
    algorithm, optimizer = job["spec"]["algorithm"], job["spec"]["optimizer"]
    assert (algorithm["preset"], algorithm["type"], algorithm["batch_size"]) == ("trl_sft_default", "sft", 4)
    assert (optimizer["schedule"], optimizer["learning_rate"]) == ("linear", 2e-5)
    assert server.wait(job["id"])["spec"] == job["spec"] == http.get(f"/v1/jobs/{job['id']}").json()["spec"]


def test_the_client_lists_and_fetches_presets(server: Any) -> None:
    with Client(server.url, server.key) as client:
        assert [preset.name for preset in client.presets().data] == list(PRESETS)
        assert client.preset("grpo").fields == PRESETS["grpo"].fields
        with pytest.raises(ApiError, match="no preset 'none'"):
            client.preset("none")
