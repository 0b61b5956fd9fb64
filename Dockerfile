# docker build --tag socket-state-exporter .
#
# Or podman build --format=docker, as OCI's format has no HEALTHCHECK. make image adds what the labels tell of the build.
# Only what is named below gets in, whatever else lies in the checkout; so there is no .dockerignore.
# Pinned by tag: what stands behind it is rebuilt for security fixes of Debian. Give your own, by digest, with
# --build-arg BASE=...: it needs python3 of 3.11 or newer, with venv.
ARG BASE=docker.io/library/python:3.13.16-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock requirements-wheel.lock ./
# An index of your own, with what it asks of pip: docker build --secret id=pip,src=$HOME/.config/pip/pip.conf .
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
# Byte code by content, not by time: it stays valid when a builder sets all times to one, and nobody could write it later.
RUN tools/bin/python -m hatchling build --target wheel --directory dist \
    && tools/bin/pip --python /opt/socket-state-exporter install --quiet --no-index --no-deps --no-compile dist/*.whl \
    && install -m 644 deploy/image/healthcheck.py /opt/socket-state-exporter/ \
    && /opt/socket-state-exporter/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/socket-state-exporter

FROM ${BASE}
COPY --from=build /opt/socket-state-exporter /opt/socket-state-exporter
ENV PATH=/opt/socket-state-exporter/bin:${PATH}
# Python's official images have no byte code of the standard library. What is imported here gets it; else every start
# would compile it anew, and take twice as long.
RUN ["/opt/socket-state-exporter/bin/python", "-c", "import encodings.idna, exporter.cli, exporter.exposition.application, exporter.http.server"]
EXPOSE 10066
# nobody, as a number, so that Kubernetes can tell that it is not root. It counts every socket; to see whose they are
# takes `--user 0` and two capabilities, see README.md.
USER 65534:65534
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD ["/opt/socket-state-exporter/bin/python", "/opt/socket-state-exporter/healthcheck.py"]
ENTRYPOINT ["/opt/socket-state-exporter/bin/socket-state-exporter"]

# What changes with every build comes last, so that all above can come from the cache.
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="socket-state-exporter" \
    org.opencontainers.image.description="Prometheus exporter of TCP sockets: in which state, whose, towards which port, and how near to a limit" \
    org.opencontainers.image.authors="The socket-state-exporter authors" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.url="https://github.com/socket-state-exporter/socket-state-exporter" \
    org.opencontainers.image.source="https://github.com/socket-state-exporter/socket-state-exporter" \
    org.opencontainers.image.documentation="https://github.com/socket-state-exporter/socket-state-exporter/blob/main/README.md" \
    org.opencontainers.image.base.name="${BASE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
