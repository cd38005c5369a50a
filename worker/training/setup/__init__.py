"""What an algorithm is given: its spec, its models and its data."""
