"""A ROS context for tests that listen to a job's graph."""

from tests.ros.conftest import ros  # noqa: F401  (a fixture)
