"""`python -m service.cli`: the same as `hone`."""

from service.cli import app

app(prog_name="hone")
