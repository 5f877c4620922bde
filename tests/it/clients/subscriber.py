"""A subscriber for `certify`; run as `subscriber.py BINARY [HABIT]`. Needs nats-py.

Without a habit it prints what `liaison subscribe` prints, starts that anew whenever it ended, and confirms retractions and
erasures. `careful` does the same with `--verify`; `deaf` confirms nothing; `taker` reads with nats-py and never acknowledges; `eager`
acknowledges before it prints, and `trusting` behind that, telling a running digest that it looks at as little as at the bytes.
"""
import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
import time

import nats

BINARY, HABIT = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
PARTY = os.environ["LIAISON_PARTY"]
WITHDRAWN = ("eu.ilonet.msg.retraction.", "eu.ilonet.msg.erasure.")


async def connect():
    tls = None
    if os.environ["LIAISON_NATS"].startswith("tls://"):
        tls = ssl.create_default_context(cafile=os.environ["LIAISON_TLS_CA"])
        tls.load_cert_chain(os.environ["LIAISON_TLS_CERT"], os.environ["LIAISON_TLS_KEY"])
    return await nats.connect(
        os.environ["LIAISON_NATS"],
        tls=tls,
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
    if HABIT == "careful":
        command += ["--verify", "--registry", os.path.join(os.path.dirname(os.environ["LIAISON_KEY"]), "../../network.toml")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in child.stdout:
        print(line, end="", flush=True)
        event = json.loads(line)["event"]
        if HABIT != "deaf" and event["type"].startswith(WITHDRAWN):
            asyncio.run(confirm(event))


def show(letter):
    seq, digest = letter.headers["Ilo-Feed-Seq"], letter.headers["Ilo-Digest"]
    line = {"feed_seq": int(seq), "digest": digest, "event": json.loads(letter.data)}
    if HABIT == "trusting":
        line["feed_digest"] = letter.headers["Ilo-Feed-Digest"]
    print(json.dumps(line), flush=True)


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
            if HABIT == "trusting":
                await letter.ack()


if HABIT in ("taker", "eager", "trusting"):
    asyncio.run(take())
while True:
    read()
    time.sleep(0.2)
