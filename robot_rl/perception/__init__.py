"""From camera pictures to what a policy sees.

May import: contract.
"""
