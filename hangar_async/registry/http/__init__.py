"""HTTP as the registry protocol needs it; knows no credentials."""
