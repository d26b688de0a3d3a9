"""Our own HTTP layer answering a constant: `python constant_site.py PORT`."""

import asyncio
import sys

import uvloop

from app.scoring.http import Connection, Limits, Site

ANSWER = b'{"predictions":[0]}'


async def main(port: int) -> None:
    site = Site(
        lambda request: request.answer(200, ANSWER),
        lambda request, refusal: request.answer(refusal.status, b"{}"),
        Limits(),
        b"X-Model-Version: 1\r\nX-Release: v1-000000000000\r\n",
    )
    await asyncio.get_running_loop().create_server(
        lambda: Connection(site), "127.0.0.1", port, backlog=4096
    )
    while True:
        site.sweep()
        await asyncio.sleep(0.25)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(int(sys.argv[1])))
