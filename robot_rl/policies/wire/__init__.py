"""Policies of other programs over the network, and ours for them: which values go by which name, and the protocols.

Nothing that comes over the wire is run or believed: names, shapes, numbers and jumps are checked, and whatever does not
fit is refused in words.

May import: contract, and what of the other policies it serves.
"""
