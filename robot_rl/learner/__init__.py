"""The learner: agents, the loop that feeds them, checkpoints. The only room with JAX.

May import: contract, data, policies.
"""
