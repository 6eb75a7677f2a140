"""Layouts, read for the clients of a registry."""
