"""The cache on disk: blobs verified and named by their digest, and the layouts over them."""
