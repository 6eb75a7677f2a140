"""From a layout to clients."""
