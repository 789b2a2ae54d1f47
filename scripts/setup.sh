#!/usr/bin/env bash
# Installs robot_rl and all it needs into .venv. Run it as often as you like: it does nothing when nothing changed,
# and starts over when an earlier run was interrupted.
#
#   EXTRAS=sim,franka,bota,learn,vision,gym,console,wire,test,clients   which extras of setup.py to install
#   PYTHON=/path/to/python3.11     which Python to build .venv with
#
# With a ROS 2 installation sourced, .venv has a colcon and a ros2 of its own besides.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/robot_rl-installed # written last: holds the key of what is installed
UNFINISHED=$VENV/robot_rl-installing # there while pip is at work
GL_PACKAGES=(libosmesa6 libegl1 libgl1-mesa-dri)
EXTRAS=${EXTRAS:-sim,franka,bota,learn,vision,gym,console,wire,test,clients}

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 2
}

# A Python that runs, is of the right version and can make virtual environments. The ROS 2 wheels exist for 3.11 only;
# with a sourced ROS 2 installation, its own Python is the right one.
usable() {
    "$1" -c "import sys, venv, ensurepip; sys.exit(not ($2))" >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 python; do
        if [ "$ros_installed" = yes ]; then
            usable "$candidate" 'sys.version_info >= (3, 11) and not __import__("rclpy") is None' || continue
        else
            usable "$candidate" 'sys.version_info[:2] == (3, 11)' || continue
        fi
        command -v "$candidate"
        return
    done
    return 1
}

install_gl() {
    local missing=() package
    if command -v dpkg-query >/dev/null; then
        for package in "${GL_PACKAGES[@]}"; do
            dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
        done
        [ ${#missing[@]} -gt 0 ] || return 0
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            say "installing ${missing[*]}"
            { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                "${missing[@]}"; } >"$log" 2>&1 || die "apt-get could not install ${missing[*]}:" "$(tail -5 "$log")"
            return 0
        fi
    fi
    # Without the right to install: any library that renders without a screen will do.
    if ! ldconfig -p 2>/dev/null | grep -qE 'lib(OSMesa|EGL_mesa|EGL_nvidia)\.so'; then
        die "no OpenGL library to render the simulated cameras with. Install one, then run this again:" \
            "    sudo apt-get install ${GL_PACKAGES[*]}"
    fi
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

ros_installed=no
if [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; then ros_installed=yes; else EXTRAS+=,ros; fi

key=$({
    echo "$PWD $EXTRAS"
    cat pyproject.toml setup.py setup.cfg constraints.txt scripts/setup.sh robot_rl/__init__.py launch/*.launch.py
} | sha256sum)
if [ "$(cat "$STAMP" 2>/dev/null)" = "$key" ] && "$VENV/bin/python" -c '' 2>/dev/null; then exit 0; fi

install_gl
if [ -e "$UNFINISHED" ] || ! grep -qsF "$PWD/$VENV" "$VENV/bin/activate" ||
    ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    if [ "$ros_installed" = yes ]; then
        python=$(find_python) || die "ROS 2 $ROS_DISTRO is sourced, but no Python of 3.11 or later imports its rclpy" \
            "and has venv (apt-get install python3-venv). Name one: make setup PYTHON=/path/to/python3"
    else
        python=$(find_python) || die "no Python 3.11 with venv found (the ROS 2 wheels need exactly 3.11)." \
            "Install it (apt-get install python3.11-venv) or name it: make setup PYTHON=/path/to/python3.11"
    fi
    [ ! -L "$VENV" ] || die "$VENV is a link to another checkout's environment, which would be cleared; remove the link"
    say "creating $VENV with $("$python" -V)"
    "$python" -m venv --clear "$VENV"
fi

say "installing robot_rl[$EXTRAS] (a few minutes the first time)"
rm -f "$STAMP"
touch "$UNFINISHED"
pip() { "$VENV/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt "$@"; }
# Without an NVIDIA GPU torch's CPU build, a tenth of the size. A build that is there already stays.
if [[ ,$EXTRAS, == *,vision,* ]] && ! compgen -G '/dev/nvidia[0-9]*' >/dev/null; then
    pip --retries 0 --timeout 15 --extra-index-url https://download.pytorch.org/whl/cpu torch
fi
pip -e ".[$EXTRAS]"
# The words' vectors and their tokenizer, of whose dependencies nothing is imported (the extra vla has them too).
if [[ ,$EXTRAS, == *,vision,* ]]; then pip --no-deps tokenizers wordllama; fi
# Runs with the numpy that is there, though it asks for an older one.
if [[ ,$EXTRAS, == *,clients,* ]]; then pip --no-deps crisp-python; fi
if [ "$ros_installed" = yes ]; then
    # ROS's own ros2 and colcon run under the system's Python, which has nothing of what was installed above.
    # colcon build --symlink-install calls setup.py develop, whose options setuptools 80 has dropped.
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "setuptools<80" colcon-common-extensions
    printf '#!%s\nimport sys\n\nfrom ros2cli.cli import main\n\nsys.exit(main())\n' "$PWD/$VENV/bin/python" >"$VENV/bin/ros2"
    chmod +x "$VENV/bin/ros2"
fi
rm -f "$UNFINISHED"
echo "$key" >"$STAMP"
say "done: $VENV"
