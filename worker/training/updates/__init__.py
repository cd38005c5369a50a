"""One update of weights: gradients, optimizers, schedules, the memory budget, checks for NaN."""
