#!/usr/bin/env python3
"""Read an authority's mailbox with nothing but a NATS client (pip install "nats-py[nkeys]") and check its feed.

    examples/subscribe.py PARTY [COUNT]     for example: de-bpol 3
    DATA=./liaison-data says where `liaison up` keeps address and keys.
"""
import asyncio, hashlib, json, os, ssl, sys

import nats


def withdrawn(payload):
    """The digest of the message in whose place the broker says that it was withdrawn before it was delivered."""
    event = json.loads(payload)
    if not event["source"].startswith("/broker/") or event["type"] != "eu.ilonet.msg.receipt.v1":
        return None
    known = event["data"].get("outcome") in ("erased", "expired", "retracted")
    return bytes.fromhex(event["data"]["sha256"]) if known else None


async def main(party, count="1"):
    data = os.environ.get("DATA", "./liaison-data")
    url = json.load(open(f"{data}/endpoints.json"))["nats"]
    tls = None
    if url.startswith("tls://"):
        tls = ssl.create_default_context(cafile=f"{data}/keys/tls/ca.crt")
        tls.load_cert_chain(f"{data}/keys/{party}/tls.crt", f"{data}/keys/{party}/tls.key")
    nc = await nats.connect(
        url, nkeys_seed=f"{data}/keys/{party}/system.nk", inbox_prefix=f"_INBOX_{party}-system", tls=tls
    )
    # The mailbox and its durable consumer `main` are there already; a party may only bind to them.
    mailbox = f"MBOX_{party.upper().replace('-', '_')}"
    consumer = await nc.jetstream().pull_subscribe_bind(consumer="main", stream=mailbox)

    left, last = int(count), None
    while left > 0:
        try:
            messages = await consumer.fetch(min(left, 100), timeout=5)
        except nats.errors.TimeoutError:
            continue  # nothing there yet
        for message in messages:
            headers = message.headers
            digest = bytes.fromhex(headers["Ilo-Digest"].removeprefix("sha256:"))
            if digest not in (hashlib.sha256(message.data).digest(), withdrawn(message.data)):
                sys.exit("the payload is not what the broker archived")
            # Feed digest: SHA-256 of the one before and this message's digest. A recipient that keeps the last
            # pair can prove that nothing was dropped, doubled or reordered. Before number 1 it is 32 zero bytes.
            number, chain = int(headers["Ilo-Feed-Seq"]), bytes.fromhex(headers["Ilo-Feed-Digest"])
            if number == 1:
                last = (0, bytes(32))
            if last and last[0] + 1 == number and hashlib.sha256(last[1] + digest).digest() != chain:
                sys.exit(f"the feed is broken at {number}")
            if last and last[0] + 1 < number:
                sys.exit(f"the feed lacks {last[0] + 1} to {number - 1}")
            last = (number, chain)
            print(number, message.data.decode(), flush=True)
            await message.ack()  # only after it is safe here: what is not acknowledged comes again
            left -= 1
    await nc.drain()


asyncio.run(main(*sys.argv[1:3]))
