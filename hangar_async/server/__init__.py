"""The other end of the wire: a small read-only registry."""
