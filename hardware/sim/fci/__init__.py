"""The simulated robots as drivers see them: Franka's protocol, and everything an FR3 enforces on whoever controls it.

`conformance` and `signals` are pure decisions; `protocol` applies them to a connection, `link` spoils its network, and
`server` runs all arms of a scene in one thread. May import `hardware.sim.scene` and `hardware.sim.channel`.
"""
