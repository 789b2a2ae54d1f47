"""The operator's page.

May import: contract, data.
"""
