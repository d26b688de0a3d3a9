"""The agent: what runs on the host while deploying. Standard library only, Python 3.9 and later.

All modules of this folder are sent to the host and run there as one package (`start.py`). Each
module named in OPS registers operations with `@op`; adding one is adding its name here.
"""

OPS = (
    "host",
    "blobs",
    "chunks",
    "run",
    "locks",
    "relay",
    "environments",
    "interpreters",
    "ports",
    "access",
    "credentials",
    "releases",
    "gate",
    "rehearsing",
    "switching",
    "shadowing",
    "truth",
    "retention",
    "stages",
    "tunnels",
    "instances",
    "logs",
    "inventory",
    "metrics",
    "traces",
    "verifying",
)
