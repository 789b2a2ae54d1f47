"""The jobs as launch descriptions of ``ros2 launch``.

May import: every room.
"""
