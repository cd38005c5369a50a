"""`python -m hone.cli`: the same as `hone`."""

from hone.cli import app

app(prog_name="hone")
