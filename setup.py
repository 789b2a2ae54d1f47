"""What colcon reads and pyproject.toml cannot say: the files that ``ros2 launch`` and ``ros2 run`` look for."""

from glob import glob

from setuptools import setup

PACKAGE = "robot_rl"

setup(
    license="Apache-2.0",
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
    ],
)
