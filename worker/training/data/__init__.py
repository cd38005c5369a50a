"""Rows of datasets, and their token ids with loss masks."""
