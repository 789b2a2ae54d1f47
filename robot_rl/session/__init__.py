"""The session: episode state machine, resets, interventions, and the same session in process.

Begin with `robot_rl.session.session`.

May import: contract, tasks, perception.
"""
