"""The README's Python runs as it stands, against a real service."""

import re
from pathlib import Path
from typing import Any

import pytest


def test_the_python_of_the_readme_trains_and_downloads_a_model(
    readme: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(readme.blocks("jsonl")[0])
    monkeypatch.chdir(tmp_path)
    [code] = readme.blocks("python")
    here = code.replace("http://127.0.0.1:8000", server.url)
    here, keys = re.subn(r'"~[^"]*/admin\.key"', repr(str(server.data_dir / "admin.key")), here)
    assert here != code and keys == 1
    exec(compile(here, "README.md", "exec"), {})
    assert "succeeded" in capsys.readouterr().out
    assert (tmp_path / "model/config.json").is_file()
