"""Policies: observation in, actions out. Agents that JAX trains are served by JAX (`serving`).

May import: contract, data, perception, learner.
"""
