"""The Franka Research 3 and its hand: drivers, the real-time process, its telemetry, and the check of the computer.

pylibfranka is imported in the children only (`process.import_pylibfranka`). May import `hardware.interfaces` and
`controllers`.
"""
