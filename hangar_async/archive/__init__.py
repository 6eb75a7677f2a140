"""Bytes to files: tar, compression units, parts and the archive's index; nothing of networks."""
