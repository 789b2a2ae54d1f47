#!/usr/bin/env bash
# Makes .venv-lerobot: LeRobot 0.4.4, the newest for Python 3.11, with the parts of robot_rl that examples/with_lerobot.py
# needs. An environment of its own, because it asks for other versions of our libraries; nothing of ours imports it.
#
#   PYTHON=/path/to/python3.11     which Python to build it with
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv-lerobot
DONE=$VENV/done # written last
if [ "$(cat "$DONE" 2>/dev/null)" = "$(sha256sum <scripts/lerobot.sh)" ]; then exit 0; fi
"${PYTHON:-.venv/bin/python}" -m venv --clear "$VENV"
pip=("$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-warn-conflicts)
"${pip[@]}" torch==2.13.0
# Its declared torch is older, and video and motors are of no use here: without its own list of what it needs.
"${pip[@]}" --no-deps torchvision==0.28.0 lerobot==0.4.4
"${pip[@]}" 'datasets>=4,<5' 'huggingface-hub>=0.34.2,<0.36' draccus==0.10.0 'gymnasium>=1.1.1,<2' 'einops<0.9' 'av>=15,<16' \
    jsonlines 'deepdiff<9' termcolor 'packaging<26' 'diffusers<0.36' 'accelerate<2' safetensors 'opencv-python-headless<4.13' \
    'imageio[ffmpeg]' pyserial 'setuptools<81' h5py pin pydantic pyyaml msgspec websockets
"${pip[@]}" --no-deps --no-build-isolation -e .
sha256sum <scripts/lerobot.sh >"$DONE"
