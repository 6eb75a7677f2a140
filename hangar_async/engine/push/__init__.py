"""From a layout into a registry."""
