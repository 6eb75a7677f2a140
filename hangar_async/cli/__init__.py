"""The command line: flags in, views and exit statuses out; no logic."""
