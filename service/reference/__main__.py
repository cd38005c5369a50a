"""`python -m service.reference [--check]`: make the tables of `docs/` again, or say which page is stale."""

import argparse
import sys
from pathlib import Path

from service.reference.markdown import Tables, names, rewritten
from service.reference.tables import ROOT, TABLES

REMEDY = "run `python -m service.reference`, which makes its tables from the code"


def main(folder: Path, tables: Tables, *, check: bool) -> list[str]:
    """Rewrite the pages of a folder, or only compare them; returns the problems, one line for each page or table."""
    pages = {path: path.read_text() for path in sorted(folder.glob("*.md"))}
    used = {name: path for path, text in pages.items() for name in names(text)}
    problems = [
        f"{used[name].name} has a block '{name}', but there is no such table" for name in used if name not in tables
    ]
    problems += [f"no page has the table '{name}'" for name in tables if name not in used]
    if problems:
        return problems
    stale = {path: new for path, text in pages.items() if (new := rewritten(text, tables)) != text}
    if check:
        return [f"{folder.name}/{path.name} is stale: {REMEDY}" for path in stale]
    for path, text in stale.items():
        path.write_text(text)
    return []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m service.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 if a page is stale")
    messages = main(ROOT / "docs", TABLES, check=parser.parse_args().check)
    sys.stderr.writelines(f"{line}\n" for line in messages)
    sys.exit(bool(messages))
