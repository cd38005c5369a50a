"""Child processes that can be killed: rewards and tools run in them."""
