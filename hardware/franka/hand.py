"""Dimensions and frames of the Franka Hand."""

from __future__ import annotations

MAX_WIDTH = 0.08  # [m] between the fingers when open
FINGER_STROKE = 0.5 * MAX_WIDTH  # [m] of each finger; an opening from 0 to 1 is a share of it
HAND_FRAME, TCP_FRAME = "fr3_hand", "fr3_hand_tcp"  # at the flange; between the fingertips
TCP_HEIGHT = 0.1034  # [m] from the flange to the fingertips, as in Franka's Desk for the Franka Hand
