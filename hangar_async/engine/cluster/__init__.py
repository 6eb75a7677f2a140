"""Mirrors on a cluster of dask.distributed: documents and plans are here, blobs and tags are moved by its workers."""
