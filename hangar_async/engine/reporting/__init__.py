"""Reports for machines: the document of a run, while it goes on, at its end, and joined from several runs."""
