"""Frames over a socket pair, as the front sends and hears them."""

import asyncio
import json
import time

from app.scoring.channel import Channel, Form
from app.scoring.launch import HEAD, pair

FORM = Form(HEAD, lambda header: json.dumps(header).encode(), lambda text: json.loads(bytes(text)))


def packed(header, payload=b""):
    text = FORM.encode(header)
    return HEAD.pack(len(text), len(payload)) + text + payload


def told(story):
    """Run the story with a channel, the other end of it, and the list of what it hears."""

    async def run():
        ours, theirs = pair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        heard = []

        def hear(header, payload):
            heard.append((header, payload))
            if header == "close":
                channel.close()

        channel = Channel(ours, FORM, hear, lambda: heard.append("end"))
        try:
            await asyncio.wait_for(story(channel, theirs, heard), 20)
        finally:
            channel.close()
            theirs.close()

    asyncio.run(run())


async def until(true):
    while not true():
        await asyncio.sleep(0.001)


async def received(sock, size):
    whole = bytearray()
    while len(whole) < size:
        whole += await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
    return bytes(whole)


def test_frames_large_and_small_are_heard_whole_and_in_order():
    sizes = [0, 1, 300_000, 5_000_000, 0, (1 << 20) - 20, 1 << 20, 2_000_000, 7]
    frames = [({"n": n}, bytes([n]) * size) for n, size in enumerate(sizes)]

    async def story(channel, theirs, heard):
        text = b"".join(packed(*frame) for frame in frames)
        await asyncio.get_running_loop().sock_sendall(theirs, text)
        await until(lambda: len(heard) == len(frames))
        assert [(header, bytes(payload)) for header, payload in heard] == frames

    told(story)


def test_a_frame_that_comes_byte_by_byte_is_heard_once():
    async def story(channel, theirs, heard):
        for byte in packed({"n": 1}, b"abc"):
            assert heard == []
            theirs.send(bytes([byte]))
            await asyncio.sleep(0)
        await until(lambda: heard)
        assert heard == [({"n": 1}, b"abc")]

    told(story)


def test_what_is_sent_arrives_as_frames_however_slowly_it_is_taken():
    frames = [({"n": 1}, []), ({"n": 2}, [b"a", b"b" * 3_000_000, b"", b"c"]), ({"n": 3}, [b"d"])]

    async def story(channel, theirs, heard):
        for header, parts in frames:
            channel.send(header, parts)
        wanted = b"".join(packed(header, b"".join(parts)) for header, parts in frames)
        assert 0 < channel.unsent < len(wanted)
        assert await received(theirs, len(wanted)) == wanted
        await until(lambda: not channel.unsent)

    told(story)


def test_the_end_is_told_once_and_after_what_was_said_before_it():
    async def story(channel, theirs, heard):
        theirs.send(packed({"n": 1}) + packed({"n": 2})[:-1])
        theirs.close()
        await until(lambda: "end" in heard)
        channel.close()
        await asyncio.sleep(0.01)
        assert heard == [({"n": 1}, b""), "end"]
        assert channel.closed

    told(story)


def test_nothing_is_heard_after_it_was_closed():
    async def story(channel, theirs, heard):
        theirs.send(packed("close") + packed({"n": 2}))
        await until(lambda: heard)
        await asyncio.sleep(0.01)
        assert heard == [("close", b"")]

    told(story)


def test_a_frame_sixteen_times_as_large_takes_about_that_much_longer():
    async def story(channel, theirs, heard):
        took = []
        for size in (1 << 22, 1 << 26):
            heard.clear()
            started = time.process_time()
            await asyncio.get_running_loop().sock_sendall(theirs, packed({}, bytes(size)))
            await until(lambda: heard)
            took.append(time.process_time() - started)
        assert took[1] < 64 * took[0] + 0.1

    told(story)
