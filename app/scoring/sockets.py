"""Listening sockets: public ones on TCP, private ones on a path of any length."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

BACKLOG = 4096


def listen_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":  # every address, those of IPv4 too
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def listen_unix(path: Path) -> socket.socket:
    """A socket only we can reach, in place of a stale one. The folder is made when absent.

    The kernel takes no path over 107 bytes, so we bind from within the folder: call this before
    there are threads.
    """
    path = Path(os.path.abspath(path))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before, mask = os.open(".", os.O_RDONLY), os.umask(0o177)
    try:
        os.chdir(path.parent)
        if path.is_socket():
            os.unlink(path.name)
        sock.bind(path.name)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
        os.fchdir(before)
        os.close(before)
    return sock


def unlink_socket(path: Path) -> None:
    """Remove a socket's path, if it is one and still there."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except OSError:
        pass
