"""From camera pictures to what a policy sees: cut and scaled (`images`), and features of a frozen network (`encoders`).

Pictures that cannot be believed are named (`watch`).

Torch is imported by the encoders that need it, when one is made, and by nothing else here.

May import: contract.
"""
