"""Tools that a policy calls: what they compute (`functions`), how calls are read (`calls`), where they run (`box`)."""
