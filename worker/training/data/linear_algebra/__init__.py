"""The built-in problems, with worked solutions."""
