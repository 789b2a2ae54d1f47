"""Scripted experts, one file a task: what a person would say by their device. They may look at ``reading.objects``.

May import: contract, and the tasks that they know the way of.
"""

from __future__ import annotations

from robot_rl.contract import Registry

EXPERTS = Registry(
    "expert",
    {
        "reach": "robot_rl.tasks.experts.reach:straight_there",
        "pick_cube": "robot_rl.tasks.experts.pick_cube:grasp_then_lift",
    },
)
