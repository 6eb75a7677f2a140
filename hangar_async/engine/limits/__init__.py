"""How many requests run at once, and which are repeated."""
