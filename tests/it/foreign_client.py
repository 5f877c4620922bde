"""A NATS client that knows nothing of liaison: publishes, waits for its receipt, reads, tries what it may not.

Driven by tests/it/foreign.rs as `foreign_client.py NATS_URL KEYS_DIRECTORY MESSAGE_FILE`; only nats-py is used. Prints
one JSON object on stdout; every check that fails ends it with a message and a code other than 0.
"""
import asyncio
import hashlib
import json
import sys

import nats
from nats.js import errors as js_errors

SUBJECT = "ilo.in.it-moi.tn-01.net.flow.observation.tn"


def check(holds, words):
    if not holds:
        sys.exit(f"foreign client: {words}")


async def connect(url, keys, party, user, refused=None):
    async def heard(error):
        if refused is not None:
            refused.append(str(error))

    return await nats.connect(
        url,
        nkeys_seed=f"{keys}/{party}/{user}.nk",
        inbox_prefix=f"_INBOX_{party}-{user}".encode(),
        error_cb=heard,
        allow_reconnect=False,
    )


async def publish(url, keys, payload):
    """A plain JetStream publish; the receipt, live and stored."""
    event_id = json.loads(payload)["id"]
    subject = f"ilo.rcpt.it-moi.tn-01.{event_id}"
    client = await connect(url, keys, "it-moi", "tn-01")
    live = await client.subscribe(subject)
    await client.flush()
    ack = await client.jetstream().publish(
        SUBJECT, payload, headers={"Content-Type": "application/cloudevents+json"}
    )
    check(ack.stream == "IN_IT_MOI" and ack.seq == 1, f"PubAck {ack}")
    receipt = json.loads((await live.next_msg(timeout=20)).data)
    check(receipt["data"]["outcome"] == "accepted", f"receipt {receipt}")
    check(receipt["data"]["sha256"] == hashlib.sha256(payload).hexdigest(), "the receipt is for other bytes")
    # The server hands a receipt on before it has stored it.
    for _ in range(100):
        stored = await client.request(f"$JS.API.DIRECT.GET.RCPT.{subject}", b"", timeout=5)
        if stored.data:
            break
        await asyncio.sleep(0.05)
    check(json.loads(stored.data) == receipt, "the stored receipt is not the live one")
    check(stored.headers["Nats-Subject"] == subject, "direct get gave another subject")
    await client.close()
    return receipt


async def read(url, keys, payload):
    """An ordinary pull consumer; digests recomputed."""
    client = await connect(url, keys, "fr-dnpaf", "system")
    consumer = await client.jetstream().pull_subscribe_bind(consumer="main", stream="MBOX_FR_DNPAF")
    (message,) = await consumer.fetch(1, timeout=20)
    check(message.data == payload, "the bytes were touched")
    check(message.subject == "ilo.out.fr-dnpaf.net.flow.observation.tn", message.subject)
    digest = hashlib.sha256(message.data).digest()
    check(message.headers["Ilo-Digest"] == f"sha256:{digest.hex()}", "digest")
    check(message.headers["Ilo-Feed-Seq"] == "1", "feed sequence")
    feed = hashlib.sha256(bytes(32) + digest).hexdigest()
    check(message.headers["Ilo-Feed-Digest"] == feed, "feed digest")
    await message.ack_sync(timeout=5)
    info = await consumer.consumer_info()
    check(info.num_pending == 0 and info.num_ack_pending == 0, f"left in the mailbox: {info}")
    await client.close()


async def trespass(url, keys):
    """What the key of another party must not open."""
    refused = []
    client = await connect(url, keys, "de-bpol", "system", refused)
    jetstream = client.jetstream(timeout=1)
    tries = 0
    for attempt in (
        lambda: jetstream.publish(SUBJECT, b"{}"),
        lambda: jetstream.publish("ilo.out.fr-dnpaf.net.flow.observation.tn", b"{}"),
        lambda: client.request("ilo.svc.it-moi.sub.list", b"{}", timeout=1),
        lambda: client.request("$JS.API.STREAM.NAMES", b"", timeout=1),
        lambda: client.request("$JS.API.CONSUMER.MSG.NEXT.MBOX_FR_DNPAF.main", b"1", timeout=1),
        lambda: client.request("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.it-moi.tn-01.x", b"", timeout=1),
    ):
        tries += 1
        try:
            answer = await attempt()
        except (nats.errors.Error, js_errors.Error, asyncio.TimeoutError):
            continue
        sys.exit(f"foreign client: attempt {tries} was answered: {answer}")
    heard = []

    async def hear(message):
        heard.append(message.subject)

    for subject in (">", "ilo.>", "ilo.rcpt.it-moi.>"):
        tries += 1
        await client.subscribe(subject, cb=hear)
    # Served in order: when this is answered, everything above was refused or served.
    await client.request("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.de-bpol.system.none", b"", timeout=5)
    check(not heard, f"heard {heard}")
    violations = [words for words in refused if "permissions violation" in words.lower()]
    check(len(violations) == tries, f"{tries} attempts, {refused}")
    await client.close()
    return tries


async def main(url, keys, file):
    with open(file, "rb") as message:
        payload = message.read()
    receipt = await publish(url, keys, payload)
    await read(url, keys, payload)
    tries = await trespass(url, keys)
    print(json.dumps({"receipt": receipt, "stopped": tries, "client": nats.__name__}))


asyncio.run(main(*sys.argv[1:4]))
