#!/bin/sh
# Starts the client as Lambda does: serial collector, first compiler only, a heap of its own size.
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Djava.io.tmpdir="${TMPDIR:-/tmp}" \
    --add-opens=java.base/java.io=ALL-UNNAMED \
    ${SANDBOX_JAVA_OPTIONS:--Xmx64m -XX:MaxMetaspaceSize=48m -XX:MaxDirectMemorySize=2g} \
    -cp "$1/lib/*:$1/classes" \
    com.amazonaws.services.lambda.runtime.api.client.AWSLambda "$_HANDLER"
