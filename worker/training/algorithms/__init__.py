"""One file for each algorithm: its advantages and its loss, as its paper has them. They do not import each other."""
