"""Ends an invocation as its payload asks: {"behavior": "kill"}."""

import json
import os
import sys
import time


def handler(event, context):
    for line in event.get("lines", []):
        print(line.replace("{id}", context.aws_request_id))
    behavior = event.get("behavior", "succeed")
    if behavior in ("kill", "grow"):
        held = []
        while True:
            held.append(str(len(held) % 10) * (1 << 20))
    if behavior == "memoryerror":
        return len(bytearray(1 << 46))  # one request that no address space holds
    if behavior == "crash":
        os._exit(event.get("code", 1))
    if behavior == "abort":
        os.abort()
    if behavior == "timeout":
        time.sleep(3600)
    if behavior == "error":
        raise ValueError("asked for")
    sys.stdout.flush()
    return {"status": "ok", "python": sys.version.split()[0], "memory": json.dumps(event)}
