"""Job files: standing jobs of a mirror, written down in YAML or JSON, each fault with its place in the file."""
