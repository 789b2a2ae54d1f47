"""The side channel to a simulated scene: both ends of it, and how bad the network can be asked to be.

Needs no simulator to be installed, and imports no other room of `hardware.sim`.
"""
