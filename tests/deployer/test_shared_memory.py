"""Memory that forked processes share is counted once."""

import os
import signal

from app.deployer.agent.room import held, peak

SIZE = 200 << 20


def test_forks_that_share_their_memory_are_not_counted_as_often_as_they_are():
    alone = held(os.getpid())
    kept = bytearray(os.urandom(1 << 20)) * (SIZE >> 20)
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
    try:
        whole = sum(held(pid) for pid in (os.getpid(), *children))
        assert SIZE * 0.9 < whole - alone < SIZE * 1.6
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    del kept
    assert peak(os.getpid()) > SIZE
