"""One algorithm a file.

May import: contract, data, learner.
"""
