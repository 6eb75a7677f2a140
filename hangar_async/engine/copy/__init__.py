"""Images from registry to registry: documents and blobs of sources, and the comparison of both sides."""
