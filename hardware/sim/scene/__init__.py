"""The MuJoCo side of a scene: its model, its pictures, and the external loads on the arm.

May import `hardware.scene`, which describes it, MuJoCo and franky-sim, but no other room of `hardware.sim`.
"""
