"""Tools that a policy calls: the functions, the parsing of calls (`calls`), the processes (`toolbox`)."""
