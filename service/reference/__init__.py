"""The tables of `docs/`, made from the code: `python -m service.reference`, or with `--check` only compared."""
