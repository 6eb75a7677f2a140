"""The state between runs: hints in one file, which cost requests when they are lost, and never correctness."""
