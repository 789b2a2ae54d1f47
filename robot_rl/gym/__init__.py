"""Gymnasium: our tasks as environments, and learning in any environment.

May import: contract, tasks, data, session, policies, learner, perception.
"""
