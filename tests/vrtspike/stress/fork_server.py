"""Starts trainers by forking a process that has imported everything: the import takes seconds.

Reads one request a line from standard input; answers with the trainer's process id, then, when it
has ended, with its exit code (negative: the signal that ended it).
"""

import gc
import json
import os
import resource
import signal
import sys
from pathlib import Path

import torch

import vrtspike.engine.session as session
from vrtspike.train import main


def serve() -> dict:
    """Returns in a child only, with its request."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return request
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit(0)


def become_trainer(request: dict) -> None:
    """A session of its own, its own output files, its limits."""
    os.setsid()
    os.chdir(request["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open("stdout.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 1)
    os.dup2(os.open("stderr", os.O_WRONLY), 2)
    os.environ.update(request["environment"])
    if request["max_file_bytes"] is not None:
        limit = request["max_file_bytes"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    session.new_run_id = lambda now: request["run_id"]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.nn.functional.conv2d(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3))
    Path("/proc/self/comm").write_text("stress-server")
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    asked = serve()
    become_trainer(asked)
    sys.exit(main(asked["arguments"]))
