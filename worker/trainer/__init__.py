"""The trainer: the process that trains one job."""
