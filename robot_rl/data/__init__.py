"""Episodes on disk and in memory: columns, journal, store with relabels, replay, returns; `importing` reads others'.

May import: contract.
"""
