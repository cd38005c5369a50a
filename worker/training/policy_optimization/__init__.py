"""Shared by the algorithms that learn from rewards: the step, the update of the policy, reference model, critic."""
