"""Files and checkpoints, in a directory or behind an fsspec URL."""
