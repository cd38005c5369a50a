"""Token sequences as tensors: micro-batches, padded or packed, and attention over packed rows."""
