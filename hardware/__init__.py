"""Drivers: arms, grippers, cameras, force sensors, teleoperation devices, and the simulator that stands in for them."""
