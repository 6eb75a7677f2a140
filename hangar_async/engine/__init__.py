"""The verbs: order, concurrency, and the meaning of a failure."""
