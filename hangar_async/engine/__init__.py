"""The verbs: what comes first, how much at once, and what a failure means."""
