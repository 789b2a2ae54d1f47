"""Manipulation tasks of public suites, which nobody here has scaled: environments, and demonstrations by scripts."""
