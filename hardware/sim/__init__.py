"""The simulated robot: a driver's counterpart over the robot's own protocol, and a world stepped in process.

`channel` and `scene` import no other room; `fci` is built on both, `world` on `scene` and on the arm's limits, which
are in `fci`.
"""
