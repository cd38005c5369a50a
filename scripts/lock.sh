#!/usr/bin/env bash
# Writes requirements.lock from what is installed in .venv: a constraints file, so that each machine takes the build of
# torch that its index offers (CPU or CUDA) at the same version.
set -euo pipefail
cd "$(dirname "$0")/.."
{
  echo "# Made by scripts/lock.sh; used as constraints: pip install -c requirements.lock -e '.[all,gguf,dev,peers]'"
  .venv/bin/python -m pip freeze --exclude-editable --exclude hone | sed -E 's/\+cpu$//' | grep -viE '^(nvidia-[^m]|triton)|@ file'
} > requirements.lock
