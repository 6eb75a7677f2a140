"""The output of commands for people: progress, summaries and next steps."""
