# An image that holds only the extension, for functions that are container images.
#
# Build it:
#
#   cargo layer
#   docker buildx build --platform linux/amd64,linux/arm64 --tag oom-witness .
#
# Then copy from it in the function's own Dockerfile:
#
#   COPY --from=oom-witness /opt/ /opt/
ARG TARGETARCH

FROM scratch AS amd64
COPY dist/oom-witness-x86_64/ /opt/

FROM scratch AS arm64
COPY dist/oom-witness-arm64/ /opt/

FROM ${TARGETARCH}
