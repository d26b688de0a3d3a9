"""All that RhythmicML remembers on this machine: a SQLite file, and the blobs its rows name."""

from app.store.store import Collected, Store

__all__ = ["Collected", "Store"]
