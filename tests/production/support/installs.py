"""Environments like those of the images: the wheel, and the packages that it needs with some extras."""

import os
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


class Installed:
    """An environment that has the wheel, and of all other packages those that it is given."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.bin = folder / "bin"
        install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", "--python", str(self.bin / "python"), *install], check=True)
        (self.packages,) = folder.glob("lib/python*/site-packages")
        self.empty = folder / "empty"
        self.empty.mkdir()

    def link(self, found: Distribution) -> None:
        """Let it have a package of the environment that the tests run in."""
        tops = {Path(str(file)).parts[0] for file in found.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not (self.packages / top).exists():
                (self.packages / top).symlink_to(Path(str(found.locate_file(top))))
        self.make_commands(found)

    def make_commands(self, found: Distribution) -> None:
        """Let it have the commands of a package."""
        for command in found.entry_points.select(group="console_scripts"):
            module, _, function = command.value.partition(" ")[0].partition(":")
            text = f"#!{self.bin}/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            (self.bin / command.name).write_text(text)
            (self.bin / command.name).chmod(0o755)

    def link_needed(self, extras: frozenset[str]) -> None:
        """Let it have what the wheel needs with these extras, and nothing else."""
        (metadata,) = self.packages.glob("hone-*.dist-info")
        for found in needed(Distribution.at(metadata), extras):
            self.link(found)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment in a folder that is empty."""
        argv = [str(self.bin / command[0]), *command[1:]]
        return subprocess.run(argv, cwd=self.empty, env=self.environment(**environment), capture_output=True, text=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of ours that could lead back to the checkout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HONE_", "PYTHON"))}
        return kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | more


def needed(
    found: Distribution,
    extras: frozenset[str] = frozenset(),
    seen: dict[tuple[str, frozenset[str]], Distribution] | None = None,
) -> list[Distribution]:
    """All that a package needs with these extras, as installed here; one may be needed with several."""
    seen = {} if seen is None else seen
    for requirement in map(Requirement, found.requires or []):
        wanted = [{"extra": extra} for extra in extras or {""}]
        applies = requirement.marker is None or any(requirement.marker.evaluate(each) for each in wanted)
        key = requirement.name, frozenset(requirement.extras)
        if applies and key not in seen:
            seen[key] = found if requirement.name == found.name else distribution(requirement.name)
            needed(seen[key], key[1], seen)
    return list(seen.values())
