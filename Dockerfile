# syntax=docker/dockerfile:1
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make pkg-config libssl-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Where the linker is LLD, the compiler's own, functions that are the same become one and
# relocations are packed.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    flags="-C strip=symbols"; \
    if [ "$(uname -m)" = x86_64 ]; then \
        flags="$flags -C link-arg=-Wl,--icf=all -C link-arg=-Wl,-z,pack-relative-relocs"; \
    fi; \
    cargo rustc --release --locked -p oribi --bin oribi -- $flags && cp target/release/oribi /oribi

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin oribi \
    && mkdir /data && chown oribi /data
COPY --from=build /oribi /usr/local/bin/oribi
USER oribi
ENV ORIBI_DATA_DIR=/data
VOLUME /data
EXPOSE 8640 1883 8883
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["oribi", "health"]
ENTRYPOINT ["oribi"]
CMD ["serve", "--data-dir", "/data"]
