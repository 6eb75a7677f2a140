"""The words of the OCI specifications as values: no input or output, no event loop."""
