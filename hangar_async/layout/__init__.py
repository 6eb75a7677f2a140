"""A cache or an OCI image layout, wherever it lies: its files, and the images in it."""
