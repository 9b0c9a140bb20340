"""A turn from its message to its answer, and what goes on beside it."""
