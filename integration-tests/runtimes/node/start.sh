#!/bin/sh
# Starts the client. With SANDBOX_COLD node runs from a copy whose pages this environment pays for,
# as where the page cache is cold; another file was read before it, so that the memory is full.
node=$(command -v node)
if [ -n "$SANDBOX_COLD" ]; then
    cp "$node" "$TMPDIR/other" && sync "$TMPDIR/other"
    cp "$node" "$TMPDIR/node" && sync "$TMPDIR/node" && node=$TMPDIR/node
fi
exec "$node" $SANDBOX_NODE_OPTIONS "$@"
