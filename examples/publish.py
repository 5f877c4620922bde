#!/usr/bin/env python3
"""Publish one message to liaison with nothing but a NATS client (pip install "nats-py[nkeys]").

    examples/publish.py PARTY POST MESSAGE.json     for example: it-moi tn-01 examples/flow-observation.json
    DATA=./liaison-data says where `liaison up` keeps address and keys. POST is `system` for the authority's own systems.
"""
import asyncio, json, os, ssl, sys, uuid
from datetime import datetime, timezone

import nats

# The plane of each family; everything else is `net` (docs/DOMAIN.md).
PLANES = {"deployment": "coord", "network": "coord", "rfi": "coord", "board": "board", "case": "case", "msg": "ctl"}


async def main(party, post, file):
    data = os.environ.get("DATA", "./liaison-data")
    url = json.load(open(f"{data}/endpoints.json"))["nats"]
    tls = None
    if url.startswith("tls://"):
        tls = ssl.create_default_context(cafile=f"{data}/keys/tls/ca.crt")
        tls.load_cert_chain(f"{data}/keys/{party}/tls.crt", f"{data}/keys/{party}/tls.key")
    event = json.load(open(file))
    # `id` makes a repetition recognisable: keep it, and the exact bytes, until the receipt is there.
    event.setdefault("id", str(uuid.uuid4()))
    event.setdefault("recordedtime", datetime.now(timezone.utc).isoformat())
    payload = json.dumps(event).encode()

    # Every user has a key and an inbox prefix of its own; the server refuses replies elsewhere.
    nc = await nats.connect(
        url, nkeys_seed=f"{data}/keys/{party}/{post}.nk", inbox_prefix=f"_INBOX_{party}-{post}", tls=tls
    )
    receipt_subject = f"ilo.rcpt.{party}.{post}.{event['id']}"
    live = await nc.subscribe(receipt_subject)

    # The subject repeats what the envelope says: ilo.in.<party>.<post>.<plane>.<family>.<kind>.<cc>
    family, kind = event["type"].split(".")[2:4]
    country = event.get("subject", "zz").lower()
    subject = f"ilo.in.{party}.{post}.{PLANES.get(family, 'net')}.{family}.{kind}.{country}"
    ack = await nc.jetstream().publish(
        subject, payload, headers={"Content-Type": "application/cloudevents+json"}
    )
    print(f"queued as {ack.stream} {ack.seq}: no promise yet", file=sys.stderr)

    # The receipt is the promise. The live one may be missed; the stored one is the truth.
    try:
        receipt = await live.next_msg(timeout=5)
    except nats.errors.TimeoutError:
        receipt = await nc.request(f"$JS.API.DIRECT.GET.RCPT.{receipt_subject}", b"", timeout=5)
        if (receipt.headers or {}).get("Status"):
            sys.exit("no receipt yet: keep the message and send the same bytes again")
    print(receipt.data.decode())
    await nc.close()


asyncio.run(main(*sys.argv[1:4]))
