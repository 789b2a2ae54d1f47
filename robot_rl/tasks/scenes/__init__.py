"""Surroundings of the simulated arm, by name; a task without a scene has the bare arm above its table.

May import: contract, and of tasks the geometry that a scene is built to.
"""

from __future__ import annotations

from robot_rl.contract import Registry

SCENES = Registry(
    "scene",
    {
        "reach": "robot_rl.tasks.scenes.reach:scene",
        "peg_insertion": "robot_rl.tasks.scenes.peg:fixed_hole",
        "peg_search": "robot_rl.tasks.scenes.peg:movable_hole",
        "gear_mesh": "robot_rl.tasks.scenes.gears:gear_and_wheel",
        "connector": "robot_rl.tasks.scenes.connector:plug_and_socket",
        "peg_assembly": "robot_rl.tasks.scenes.assembly:peg_tray_and_hole",
        "pick_cube": "robot_rl.tasks.scenes.cube:scene",
        "wipe_line": "robot_rl.tasks.scenes.wipe:surface_and_pad",
    },
)
