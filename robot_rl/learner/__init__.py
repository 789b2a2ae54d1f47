"""The learner: agents, the loop that feeds them, checkpoints. JAX lives here, and in `robot_rl.policies.serving`.

May import: contract, data.
"""
