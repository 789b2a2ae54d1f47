"""Jobs: command line, configuration, run folder, processes, learning, promotion, report.

May import: every room.
"""
