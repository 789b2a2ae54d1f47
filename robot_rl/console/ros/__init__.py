"""The page's node.

May import: contract, data, ros.
"""
