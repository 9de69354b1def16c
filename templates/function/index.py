# With the event {"grow": true} it runs out of memory.
def handler(event, context):
    blocks = []
    while event.get("grow"):
        blocks.append(bytearray(b"x" * 1_000_000))
    return "fine"
