"""From registries into the store."""
