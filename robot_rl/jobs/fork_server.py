"""The server of `robot_rl.jobs.forked`: imports once what the processes of a job need, then forks one for each request.

``python -m robot_rl.jobs.fork_server FD`` serves on the socket FD, a SOCK_SEQPACKET, until that is closed. A request is
JSON, ``{"arguments": […], "environment": {…}}``, with the log's descriptor and others to keep open; its answer is
``{"pid": N}``, and ``{"ended": N, "status": S}`` follows when that process has ended, where -S is the signal that
ended it. The server has no threads of its own, so that a fork is whole: rclpy is left to each process, because its
tracing starts some. It ends with who started it, even a killed one, and its processes with it.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import traceback

from setproctitle import setproctitle

from robot_rl.jobs.interrupt import end_with_parent

# Modules that processes of jobs import, but for rclpy, JAX and torch.
IMPORTED = ("robot_rl.jobs.cli", "robot_rl.jobs.processes", "robot_rl.session", "robot_rl.policies", "robot_rl.tasks")
LARGEST = 1 << 20  # request [bytes]
MOST_DESCRIPTORS = 64  # of a request


def serve(connection: socket.socket) -> None:
    """Fork a process for each request that comes by ``connection``, until it is closed."""
    running: dict[int, int] = {}  # descriptor of a process → its id
    while True:
        ready, _, _ = select.select([connection.fileno(), *running], [], [])
        for descriptor in set(ready) & set(running):
            pid = running.pop(descriptor)
            os.close(descriptor)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            connection.send(json.dumps({"ended": pid, "status": status}).encode())
        if connection.fileno() in ready:
            request, descriptors, _, _ = socket.recv_fds(connection, LARGEST, MOST_DESCRIPTORS)
            if not request:
                return
            sys.stdout.flush()
            sys.stderr.flush()
            if (pid := os.fork()) == 0:
                connection.close()
                for other in running:
                    os.close(other)
                _become(**json.loads(request), log=descriptors[0])
            for descriptor in descriptors:
                os.close(descriptor)
            running[os.pidfd_open(pid)] = pid
            connection.send(json.dumps({"pid": pid}).encode())


def _become(arguments: list[str], environment: dict[str, str], log: int) -> None:
    """Be ``python -m robot_rl ARGUMENTS`` from here on, which never returns."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        setproctitle(" ".join(["python -m robot_rl", *arguments]))  # before the environment moves: it looks there
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.close(log)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["robot-rl", *arguments]
        from robot_rl.jobs.cli import main

        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # as the interpreter does
        traceback.print_exc()
    finally:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)  # what its parent would do at its end is not this process's


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    end_with_parent()
    for name in IMPORTED:
        importlib.import_module(name)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    main()
