"""The networks that algorithms share.

May import: contract, policies, learner.
"""
