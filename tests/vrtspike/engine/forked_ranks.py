"""`python forked_ranks.py N SCRIPT ...`: what torchrun does, but PyTorch is imported only once."""

import os
import runpy
import socket
import sys

import vrtspike.engine.session  # noqa: F401  # before the fork, so that it is imported once


def become_rank(rank: int, size: int, port: int) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


def main(size: int, script: str, *arguments: str) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for rank in range(size):
        if not os.fork():
            become_rank(rank, size, port)
            sys.argv = [script, *arguments]
            runpy.run_path(script, run_name="__main__")
            return 0
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(size)]
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
