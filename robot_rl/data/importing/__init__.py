"""Demonstrations of other programs, read into transitions.

May import: contract, data.
"""
