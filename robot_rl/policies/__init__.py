"""Policies: observation in, actions out. Parameters as bytes, and the policies that act by them.

May import: contract, data, perception.
"""
