"""A small read-only registry."""
