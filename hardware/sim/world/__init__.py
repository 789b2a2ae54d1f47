"""The simulated arm in this process, without protocol, thread or waiting.

May import `hardware.sim.scene`, and from `hardware.sim.fci` what an arm enforces (`conformance`, `stops`).
"""
