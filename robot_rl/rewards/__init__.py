"""Reward from people and classifiers.

May import: contract, perception.
"""
