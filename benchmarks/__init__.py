"""Measurements beside real peers, one module a question; not part of the tests."""
