"""From the store into an archive or a directory."""
