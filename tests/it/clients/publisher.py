"""A publisher for `certify`, made of `liaison publish`; run as `publisher.py BINARY [HABIT]`.

Without a habit it does as it should: the same bytes again until there is a receipt. `new-id` sends a message that had no
receipt again under another id; `stubborn` sends what was refused again, five times, and tells nobody.
"""
import json
import os
import subprocess
import sys
import time
import uuid

BINARY, HABIT = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""


def publish(subject, payload):
    command = [BINARY, "publish", "--as", os.environ["LIAISON_PARTY"], "--subject", subject, "--timeout", "5", "-"]
    done = subprocess.run(command, input=payload.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout) if done.stdout.strip() else None


for line in sys.stdin:
    given = json.loads(line)
    payload = given["payload"]
    receipt = publish(given["subject"], payload)
    while receipt is None:
        time.sleep(0.1)
        if HABIT == "new-id":
            event = json.loads(payload)
            event["id"] = str(uuid.uuid4())
            payload = json.dumps(event)
        receipt = publish(given["subject"], payload)
    if HABIT == "stubborn" and receipt["data"]["outcome"] == "rejected":
        for _ in range(4):
            publish(given["subject"], payload)
        continue
    print(json.dumps(receipt), flush=True)
