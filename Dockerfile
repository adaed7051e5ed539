# The serving image: the base dependencies of pyproject.toml; no torch, no pip. `make image` builds it.
# The base may be any Debian-like image with Python 3.11 or newer and its venv module.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim

# What to install, apart from the rest of pyproject.toml: another version or lint rule installs nothing again.
FROM ${BASE_IMAGE} AS requirements
WORKDIR /src
COPY pyproject.toml ./
RUN python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > requirements.txt

FROM ${BASE_IMAGE} AS dependencies
# pip reads these from its environment; unset, it does what it always does.
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --constraint constraints.txt pip hatchling \
    && python3 -m venv --without-pip /opt/slimbayes
COPY --from=requirements /src/requirements.txt ./
# Bytecode is written here, since a read-only container cannot, and never checked against sources that do not change.
RUN /opt/build/bin/pip --python /opt/slimbayes/bin/python install --quiet --no-compile --constraint constraints.txt --requirement requirements.txt \
    && find /opt/slimbayes/lib -depth -type d \( -name tests -o -path '*/onnx/backend/test' \) -exec rm -r {} + \
    && /opt/slimbayes/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/slimbayes/lib

FROM dependencies AS package
COPY pyproject.toml README.md LICENSE ./
COPY model_store model_store
COPY service service
COPY training training
COPY pruning pruning
RUN /opt/build/bin/hatchling build --target wheel --directory dist \
    && /opt/build/bin/pip --python /opt/slimbayes/bin/python install --quiet --no-compile --no-deps --prefix /package dist/*.whl \
    && /opt/slimbayes/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /package -p /opt/slimbayes /package/lib \
    && ln -s "$(cd /package && echo lib/python3*/site-packages/model_store/zoo)" /package/zoo

FROM ${BASE_IMAGE}
# Some bases ship Python without its bytecode: written once here, it is not made anew at each start.
RUN python3 -m compileall -q -x '/(site-packages|dist-packages|tests?)/' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 10001 slimbayes \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin slimbayes \
    && install --directory --owner=10001 --group=10001 /store
# Two layers: a new version of ours is a small download.
COPY --from=dependencies /opt/slimbayes /opt/slimbayes
COPY --from=package /package /opt/slimbayes
# ONNX Runtime sends telemetry unless it is told not to before it loads.
ENV PATH=/opt/slimbayes/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SLIMBAYES_STORE=/store \
    SLIMBAYES_HOST=0.0.0.0 \
    SLIMBAYES_PORT=8000
USER 10001:10001
VOLUME /store
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-IS", "-c", "import http.client, os, ssl, sys; at = {'host': '127.0.0.1', 'port': int(os.environ['SLIMBAYES_PORT']), 'timeout': 2}; c = http.client.HTTPSConnection(**at, context=ssl._create_unverified_context()) if os.environ.get('SLIMBAYES_TLS_CERT') else http.client.HTTPConnection(**at); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["slimbayes"]
CMD ["serve"]
ARG BASE_IMAGE
ARG VERSION=unknown
LABEL org.opencontainers.image.title="slimbayes" \
      org.opencontainers.image.description="Bayesian image classifiers, pruned and served: uncertainty at the price of a point estimate." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
