"""The networks that algorithms share.

May import: contract, data, learner.
"""
