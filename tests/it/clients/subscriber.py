"""A subscriber for `certify`; run as `subscriber.py BINARY [HABIT]`. Needs nats-py.

Without a habit it prints what `liaison subscribe` prints, starts that anew whenever it ended, and confirms retractions.
`deaf` confirms nothing; `taker` reads with nats-py and never acknowledges; `eager` acknowledges before it prints.
"""
import asyncio
import json
import os
import subprocess
import sys
import threading
import time

import nats

BINARY, HABIT = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
PARTY = os.environ["LIAISON_PARTY"]


async def connect():
    return await nats.connect(
        os.environ["LIAISON_NATS"],
        nkeys_seed=os.environ["LIAISON_KEY"],
        inbox_prefix=f"_INBOX_{PARTY}-system".encode(),
    )


async def confirm(event):
    client = await connect()
    body = json.dumps({"id": event["id"], "source": event["source"]}).encode()
    await client.request(f"ilo.svc.{PARTY}.confirm", body, timeout=5)
    await client.close()


def read():
    command = [BINARY, "subscribe", "--as", PARTY]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in child.stdout:
        print(line, end="", flush=True)
        event = json.loads(line)["event"]
        if HABIT != "deaf" and event["type"].startswith("eu.ilonet.msg.retraction."):
            asyncio.run(confirm(event))


def show(letter):
    seq, digest = letter.headers["Ilo-Feed-Seq"], letter.headers["Ilo-Digest"]
    print(json.dumps({"feed_seq": int(seq), "digest": digest, "event": json.loads(letter.data)}), flush=True)


async def take():
    client = await connect()
    stream = f"MBOX_{PARTY.upper().replace('-', '_')}"
    consumer = await client.jetstream().pull_subscribe_bind(consumer="main", stream=stream)
    while True:
        try:
            letters = await consumer.fetch(50, timeout=1)
        except (nats.errors.TimeoutError, asyncio.TimeoutError):
            continue
        for letter in letters:
            if HABIT == "eager":
                await letter.ack()
                threading.Thread(target=show, args=(letter,)).start()
            else:
                show(letter)


if HABIT in ("taker", "eager"):
    asyncio.run(take())
while True:
    read()
    time.sleep(0.2)
