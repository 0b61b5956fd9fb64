# docker build --tag socket-state-exporter .
#
# Or podman build --format=docker, because the OCI format has no HEALTHCHECK. `make image` sets the build labels.
# Only the files named below are copied, so there is no .dockerignore.
# The base is pinned by tag, which is rebuilt with Debian's security fixes. To use another one, by digest, set
# --build-arg BASE=...; it must have Python 3.11 or newer with venv.
ARG BASE=docker.io/library/python:3.13.16-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock requirements-wheel.lock ./
# To use your own package index: docker build --secret id=pip,src=$HOME/.config/pip/pip.conf .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv tools \
    && python3 -m venv --without-pip /opt/socket-state-exporter \
    && tools/bin/pip install --quiet --require-hashes --only-binary :all: --no-deps \
        --requirement requirements-wheel.lock \
    && tools/bin/pip --python /opt/socket-state-exporter install --quiet --require-hashes --only-binary :all: --no-deps \
        --no-compile --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
COPY deploy deploy
COPY grafana grafana
# Hash-based bytecode stays valid when a builder resets file times; the container could not write new bytecode.
RUN tools/bin/python -m hatchling build --target wheel --directory dist \
    && tools/bin/pip --python /opt/socket-state-exporter install --quiet --no-index --no-deps --no-compile dist/*.whl \
    && install -m 644 deploy/image/healthcheck.py /opt/socket-state-exporter/ \
    && /opt/socket-state-exporter/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/socket-state-exporter

FROM ${BASE}
COPY --from=build /opt/socket-state-exporter /opt/socket-state-exporter
ENV PATH=/opt/socket-state-exporter/bin:${PATH}
# Python's official images have no bytecode of the standard library. Compile the imported modules here: otherwise every
# start compiles them again and takes twice as long.
RUN ["/opt/socket-state-exporter/bin/python", "-c", "import ctypes, encodings.idna, exporter.cli, exporter.http.app, exporter.http.server"]
EXPOSE 10066
# An unprivileged user by number, so that Kubernetes can verify runAsNonRoot. It can count every socket; resolving processes
# requires `--user 0` and two capabilities, see README.md.
USER 65534:65534
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD ["/opt/socket-state-exporter/bin/python", "/opt/socket-state-exporter/healthcheck.py"]
ENTRYPOINT ["/opt/socket-state-exporter/bin/socket-state-exporter"]

# Labels that change with every build come last, so that the layers above stay cached.
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="socket-state-exporter" \
    org.opencontainers.image.description="Prometheus exporter of TCP sockets by state, process and remote port, and of the usage of their limits" \
    org.opencontainers.image.authors="The socket-state-exporter authors" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.url="https://github.com/socket-state-exporter/socket-state-exporter" \
    org.opencontainers.image.source="https://github.com/socket-state-exporter/socket-state-exporter" \
    org.opencontainers.image.documentation="https://github.com/socket-state-exporter/socket-state-exporter/blob/main/README.md" \
    org.opencontainers.image.base.name="${BASE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
