"""More requests than a model can take: refused soon, probes answered, memory flat, recovered."""

import asyncio
import json
import statistics
import time

import psutil

from .conftest import wait_for

SLEEPS = """
import time

def predict(model, inputs):
    time.sleep(0.02)
    return inputs
"""
RATE, SECONDS = 400, 5  # requests a second, against the 50 that it can predict one by one


async def ask(port, path, body=None):
    """Status, body, headers and seconds of one request on its own connection."""
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        line = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: x\r\n"
        length = len(body or "")
        writer.write(f"{line}Connection: close\r\nContent-Length: {length}\r\n\r\n".encode())
        writer.write((body or "").encode())
        received = await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
    head, _, said = received.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), said, head, time.monotonic() - started


async def overload(port, rate, seconds):
    """Start so many requests a second whatever becomes of them, and probes meanwhile."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    asked, probes = [], []
    for number in range(rate * seconds):
        await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
        asked.append(asyncio.create_task(ask(port, "/score", f"[{number}]")))
        if number % 20 == 0:
            path = "/livez" if number % 40 else "/readyz"
            probes.append(asyncio.create_task(ask(port, path)))
    return await asyncio.gather(*asked), await asyncio.gather(*probes)


def test_overload_is_refused_soon_and_does_no_harm(serve):
    front = serve(SLEEPS, batch=None, queue=8, timeout=10.0)
    process = psutil.Process(front.process.pid)
    asyncio.run(overload(front.port, RATE, 1))
    before = process.memory_info().rss
    answers, probes = asyncio.run(overload(front.port, RATE, SECONDS))
    after = process.memory_info().rss
    admitted = [
        (number, said) for number, (status, said, _, _) in enumerate(answers) if status == 200
    ]
    refused = [(head, took) for status, _, head, took in answers if status == 503]
    assert len(admitted) + len(refused) == len(answers)
    assert len(admitted) > 10
    assert len(refused) > len(answers) / 4
    assert all(json.loads(said) == {"predictions": [number]} for number, said in admitted)
    assert all(b"Retry-After: " in head for head, _ in refused)
    assert statistics.median(took for _, took in refused) <= 0.1
    assert {status for status, *_ in probes} == {200}
    assert statistics.median(took for *_, took in probes) <= 0.2
    assert after - before < 20 << 20
    wait_for(lambda: front.post("/score", [1]).status == 200, 5)
