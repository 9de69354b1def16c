"""Ends an invocation as its payload asks: {"behavior": "kill"}."""

import json
import logging
import os
import subprocess
import sys
import time


def grow():
    held = []
    while True:
        held.append(str(len(held) % 10) * (1 << 20))


def huge():
    return len(bytearray(1 << 46))  # one request that no address space holds


def init(what):
    """What the environment variable SANDBOX_INIT asks for, before the first invocation."""
    mark = os.path.join(os.environ.get("TMPDIR", "/tmp"), "died-once")
    if what.endswith("-once"):
        if os.path.exists(mark):
            return
        open(mark, "w").close()
    if what.startswith("kill"):
        grow()
    if what.startswith("memoryerror"):
        huge()


init(os.environ.get("SANDBOX_INIT", ""))

if "SANDBOX_RESTORE" in os.environ:  # SnapStart
    from snapshot_restore_py import register_after_restore

    register_after_restore(init, os.environ["SANDBOX_RESTORE"])


def handler(event, context):
    for line in event.get("lines", []):
        print(line.replace("{id}", context.aws_request_id))
    if "fill" in event:  # one long line
        print("A" * event["fill"])
    behavior = event.get("behavior", "succeed")
    if behavior in ("kill", "grow"):
        gate, opener = os.pipe()
        for _ in range(1, event.get("workers", 1)):
            if os.fork() == 0:
                os.close(opener)
                if event.get("together"):
                    os.read(gate, 1)  # until the first process has started all and closes it
                break
        else:
            os.close(opener)
        grow()
    if behavior == "memoryerror":
        return huge()
    if behavior == "long-memoryerror":
        raise MemoryError("Unable to allocate " + "8" * event.get("digits", 2500) + " bytes")
    if behavior == "handled":
        try:
            huge()
        except MemoryError:
            logging.exception("served from disk instead")
        behavior = event.get("then", behavior)
    if behavior == "subprocess":
        code = "a = []\nwhile True: a.append('x' * (1 << 20))"
        ended = subprocess.run([sys.executable, "-c", code])
        print("child ended with", ended.returncode)
    if behavior == "near-limit":
        print("held", len(b"1" * (event["mb"] << 20)) >> 20, "MiB")
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
