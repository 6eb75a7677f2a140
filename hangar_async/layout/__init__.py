"""A cache or an OCI image layout, in a directory or an archive: its files, and its images."""
