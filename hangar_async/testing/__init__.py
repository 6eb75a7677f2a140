"""A registry in memory that takes pushes: for the demo and for tests."""
