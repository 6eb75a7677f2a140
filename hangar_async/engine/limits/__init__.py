"""The limits of requests: how many run at the same time, and which are repeated."""
