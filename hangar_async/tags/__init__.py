"""Tags of images: the versions in them, and rules that choose some. No input or output."""
