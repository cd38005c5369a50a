"""Environments of their own for the peers, made once: their pins do not fit into ours."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEFAULT = Path.home() / ".cache" / "hone-benchmarks"
LOCKED = ["-c", str(ROOT / "requirements.lock")]
"""The same torch and transformers as ours."""
PEERS = {
    "trl-1.16.0": ["trl==1.16.0", "torch==2.13.0", *LOCKED],
    "trl-0.24.0": ["trl==0.24.0", "torch==2.13.0", "transformers<5"],  # the last release with a PPO that is supported
    "transformers-4.57": ["transformers==4.57.*", "torch", "peft"],
    "transformers-5": ["transformers==5.*", "torch", "peft"],
}


def python(name: str, folder: Path) -> str:
    """The interpreter of a peer's environment, which is made if it is not there."""
    place = folder / name
    interpreter, made = place / "bin" / "python", place / ".made"
    if not made.exists():
        print(f"making {place} (once; it takes minutes)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *PEERS[name]], check=True)
        made.touch()
    return str(interpreter)
