"""Standing jobs: tags are listed and chosen, then mirrored as a list is."""
