"""One function for each source of a dataset, found by its decorator."""
