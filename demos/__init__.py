"""Demonstrations and the end-to-end demo built from the jobs of robot_rl."""
