"""The Python of the documentation runs as it stands, against a real service."""

import re
from pathlib import Path
from typing import Any

import pytest


def test_the_python_of_the_documentation_trains_and_downloads_a_model(
    page: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(page("data").blocks("jsonl")[0])
    monkeypatch.chdir(tmp_path)
    code, _ = page("python").blocks("python")
    program = code.replace("http://127.0.0.1:8000", server.url)
    program, keys = re.subn(r'"~[^"]*/admin\.key"', repr(str(server.data_dir / "admin.key")), program)
    assert program != code and keys == 1
    exec(compile(program, "docs/python.md", "exec"), {})
    assert "succeeded" in capsys.readouterr().out
    assert (tmp_path / "model/config.json").is_file()


def test_the_notebook_of_the_documentation_trains_without_a_service(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(page("data").blocks("jsonl")[0])
    monkeypatch.chdir(tmp_path)
    _, code = page("python").blocks("python")
    exec(compile(code, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "run/step-00000020"
    assert (tmp_path / "run/step-00000020/config.json").is_file()
