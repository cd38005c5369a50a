"""Scores of responses: functions by schema (`registry`), run in processes that can be killed (`pool`)."""
