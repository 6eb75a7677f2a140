"""The parts of the pages in docs/ that the program itself says: its flags and its output."""
