"""What stands behind a name on the bus of a desktop in tests."""

from collections.abc import Callable

from jeepney import MessageType
from jeepney.io.blocking import DBusConnection
from jeepney.low_level import Message


def answer(bus: DBusConnection, reply: Callable[[Message], Message]) -> None:
    """Reply to every call, until the bus is gone; for a thread."""
    while True:
        try:
            said = bus.receive()
        except ConnectionError:
            bus.close()
            return
        if said.header.message_type == MessageType.method_call:
            bus.send(reply(said))
