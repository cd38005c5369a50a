import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hone.cli import app


@dataclass
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


Hone = Callable[..., Done]


@pytest.fixture
def hone(server: Any, capsys: pytest.CaptureFixture[str]) -> Hone:
    """Runs the command as a person at the machine of the service does, in this process: starting one takes longer."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("HONE_")]:
                patch.delenv(name)
            for name, value in ({"HONE_DATA_DIR": str(server.data_dir)} | environment).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                app([str(argument) for argument in arguments], prog_name="hone")
        shown = capsys.readouterr()
        return Done(int(ended.value.code or 0), shown.out, shown.err)

    return run
