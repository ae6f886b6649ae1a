FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
# For librdkafka.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libssl-dev make pkg-config \
    && rm -rf /var/lib/apt/lists/*
COPY . .
# The caches outlive this step and stay out of the image, so a change recompiles this package alone.
# The binary is copied because what lies in a cache isn't there for the next stage.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --features kafka \
    && cp target/release/concert-reservation /usr/local/bin/

FROM debian:12.12-slim
# Certificates: events may be delivered over HTTPS. OpenSSL: to Kafka over TLS.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/concert-reservation /usr/local/bin/
# By number, so that Kubernetes can see that it isn't root.
USER 10001:10001
ENV LISTEN_ADDR=0.0.0.0:8080
EXPOSE 8080
# Nothing here speaks HTTP but bash, which opens sockets itself.
HEALTHCHECK --interval=2s --timeout=5s --start-period=60s --retries=5 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == 200 ]]"]
ENTRYPOINT ["concert-reservation"]
CMD ["serve"]
