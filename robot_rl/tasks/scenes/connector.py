"""A plug in the hand and a socket with two sprung latches, for `robot_rl.tasks.connector`."""

from __future__ import annotations

from hardware.scene import SceneSpec
from robot_rl.tasks.connector import PLUG_SIZE, Connector
from robot_rl.tasks.peg_insertion import BLOCK_TOP, CONTACT_HEIGHT, HOLE_XY, PEG_BELOW_TCP, PEG_WIDTH
from robot_rl.tasks.scenes.peg import BLOCK_WIDTH, CONTACT, START_Q

DEPTH = 0.012  # [m] of the socket
RIM = 0.0012  # [m] of its mouth, below which the latches have room
LATCH_RADIUS, LATCH_DEPTH = 0.003, 0.0046  # [m]; of its middle below the mouth
REACH = 0.0016  # [m] that a latch stands out into the socket
ROOM = 0.008  # [m] behind the walls for a latch
STIFFNESS, PRELOAD = 800.0, 12.0  # [N/m], [N] of a latch's spring
PLUG_LENGTH = 0.020  # [m]


def plug_and_socket(clearance: float = Connector.clearance) -> SceneSpec:
    """The socket is an object, ``hole``, that each start puts somewhere else; ``clearance`` [m] along x and y."""
    return SceneSpec(
        worldbody=_socket(PLUG_SIZE[0] + clearance, PLUG_SIZE[1] + clearance),
        hand=_plug(),
        objects=("hole",),
        start_q=START_Q,
        start_width=PEG_WIDTH,
        look_at=(*HOLE_XY, CONTACT_HEIGHT + 0.01),
    )


def _plug() -> str:
    """MJCF of the plug and the handle by which the hand holds it, rigid in the hand."""
    above = 0.018  # [m] of the handle between the fingers, above the TCP
    handle = 0.5 * (PEG_BELOW_TCP - PLUG_LENGTH + above)
    end = 0.1034 + PEG_BELOW_TCP  # [m] from the hand's frame
    size = f"{0.5 * PLUG_SIZE[0]} {0.5 * PLUG_SIZE[1]} {0.5 * PLUG_LENGTH}"
    return f"""
    <body name="plug" pos="0 0 {end - 0.5 * PLUG_LENGTH}">
      <geom type="box" size="{size}" mass="0.02" rgba="0.80 0.80 0.84 1" {CONTACT}/>
      <geom type="box" pos="0 0 {-0.5 * PLUG_LENGTH - handle}" size="{0.5 * PEG_WIDTH} {0.5 * PEG_WIDTH} {handle}"
            mass="0.02" rgba="0.85 0.55 0.15 1" {CONTACT}/>
    </body>
    """


def _socket(width: float, height: float) -> str:
    """MJCF of the socket, its frame in the middle of its mouth; ``width`` and ``height`` [m] along x and y."""
    look = f'type="box" rgba="0.36 0.42 0.50 1" {CONTACT}'
    half_x, half_y, block = 0.5 * width, 0.5 * height, 0.5 * BLOCK_WIDTH
    rim, below = 0.5 * RIM, 0.5 * (DEPTH - RIM)
    long, short = 0.5 * (block - half_x), 0.5 * (block - half_x - ROOM)
    side, bottom = 0.5 * (block - half_y), 0.5 * (BLOCK_TOP - DEPTH)
    ends = "".join(
        f"""
      <geom {look} pos="{sign * (half_x + long)} 0 {-rim}" size="{long} {half_y} {rim}"/>
      <geom {look} pos="{sign * (half_x + ROOM + short)} 0 {-RIM - below}" size="{short} {half_y} {below}"/>
      {_latch(sign, sign * (half_x - REACH + LATCH_RADIUS))}"""
        for sign in (1, -1)
    )
    return f"""
    <body name="hole" pos="{HOLE_XY[0]} {HOLE_XY[1]} {BLOCK_TOP}" mocap="true">
      <geom {look} pos="0 {half_y + side} {-0.5 * DEPTH}" size="{block} {side} {0.5 * DEPTH}"/>
      <geom {look} pos="0 {-half_y - side} {-0.5 * DEPTH}" size="{block} {side} {0.5 * DEPTH}"/>
      <geom {look} pos="0 0 {-DEPTH - bottom}" size="{block} {block} {bottom}"/>
      {ends}
    </body>
    """


def _latch(sign: int, x: float) -> str:
    """MJCF of the latch at ``x`` [m], a ball that its spring presses into the socket."""
    return f"""
      <body pos="{x} 0 {-LATCH_DEPTH}">
        <joint type="slide" axis="{sign} 0 0" range="0 0.004" stiffness="{STIFFNESS}" springref="{-PRELOAD / STIFFNESS}"
               damping="4" armature="0.02" solreflimit="0.004 1"/>
        <geom type="sphere" size="{LATCH_RADIUS}" mass="0.01" rgba="0.9 0.75 0.2 1" {CONTACT}/>
      </body>"""
