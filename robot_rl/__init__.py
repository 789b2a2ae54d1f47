"""Reinforcement learning on a real arm with a person in the loop: session, tasks, data, learner, policies."""

__version__ = "0.1.0"
