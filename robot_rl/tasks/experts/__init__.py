"""Scripted experts, one file a task: what a person would say by their device. They may look at ``reading.objects``.

May import: contract, and the tasks that they know the way of.
"""
