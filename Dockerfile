# Two images: `serve`, the default, without torch and compilers, and `train`. `make image` and `make image-train` build them.
# The base may be any Debian-like image with Python 3.11 or newer and its venv module; named by its digest, an image can be
# built again as it was. The labels that tell builds apart (version, revision, created, base.name) come from `make`.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# What builds, and is in no image. Each stage leaves a tree to be laid over the root, since folders that COPY makes have the
# time of the build.
FROM ${BASE_IMAGE} AS tools
# pip reads these from its environment; empty, it does what it always does.
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
# Sets in bytecode have an order of chance, unless hashes have none.
ENV PIP_CERT=${PIP_CERT} \
    PIP_INDEX_URL=${PIP_INDEX_URL} \
    PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} \
    PIP_FIND_LINKS=${PIP_FIND_LINKS} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONHASHSEED=0
WORKDIR /src
COPY docker/requirements/build.txt ./
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --require-hashes --requirement build.txt \
    && python3 -m venv --without-pip /opt/slimbayes \
    && mkdir -p /tree/opt \
    && mv /opt/slimbayes /tree/opt \
    && ln -s /tree/opt/slimbayes /opt/slimbayes
COPY docker/steps /usr/local/bin/

FROM tools AS system
RUN system /system

FROM tools AS package
COPY pyproject.toml README.md LICENSE ./
COPY model_store model_store
COPY service service
COPY training training
COPY pruning pruning
COPY slimbayes slimbayes
RUN /opt/build/bin/hatchling build --target wheel --directory dist \
    && /opt/build/bin/pip --python /opt/slimbayes/bin/python install --quiet --no-compile --no-deps --no-index --prefix /package/opt/slimbayes dist/*.whl \
    && /opt/slimbayes/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /package -p / /package/opt \
    && ln -s "$(find /package/opt/slimbayes/lib -type d -path '*/model_store/zoo' -printf 'lib/%P')" /package/opt/slimbayes/zoo \
    && settle /package

# The same in both images but for the dependencies. Layers that change seldom come first.
FROM ${BASE_IMAGE} AS base
COPY --from=system /system /
# ONNX Runtime sends telemetry unless it is told not to before it loads.
ENV PATH=/opt/slimbayes/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
# What commands call store, runs and data is what is mounted at /store, /runs and /data.
WORKDIR /
ENTRYPOINT ["slimbayes"]

FROM tools AS train-dependencies
# `cpu`, or `cuda` for the build on PyPI. Any other file of requirements with digests will do beside another index.
ARG TORCH=cpu
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY docker/requirements/train.txt docker/requirements/torch-${TORCH}.txt ./
RUN install-hashed ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} --requirement train.txt --requirement "torch-$TORCH.txt"

FROM train-dependencies AS train-bill
COPY --from=package /package /tree
COPY pyproject.toml ./
RUN bill /bill

FROM scratch AS train-bills
COPY --from=train-bill /bill/usr/share/sbom /

FROM base AS train
COPY --from=train-dependencies /tree /
COPY --from=package /package /
COPY --from=train-bill /bill /
# Where libraries keep what they make for themselves.
ENV HOME=/tmp
HEALTHCHECK NONE
CMD ["train"]
LABEL org.opencontainers.image.title="slimbayes-train" \
      org.opencontainers.image.description="Bayesian image classifiers: trained on one process or many, and pruned." \
      org.opencontainers.image.licenses="Apache-2.0"

FROM tools AS serve-dependencies
COPY docker/requirements/serve.txt ./
RUN install-hashed --requirement serve.txt

FROM serve-dependencies AS serve-bill
COPY --from=package /package /tree
COPY pyproject.toml ./
RUN bill /bill

FROM scratch AS serve-bills
COPY --from=serve-bill /bill/usr/share/sbom /

FROM base AS serve
COPY --from=serve-dependencies /tree /
COPY --from=package /package /
COPY --from=serve-bill /bill /
ENV SLIMBAYES_HOST=0.0.0.0 \
    SLIMBAYES_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-IS", "-c", "import http.client, os, ssl, sys; at = {'host': '127.0.0.1', 'port': int(os.environ['SLIMBAYES_PORT']), 'timeout': 2}; c = http.client.HTTPSConnection(**at, context=ssl._create_unverified_context()) if os.environ.get('SLIMBAYES_TLS_CERT') else http.client.HTTPConnection(**at); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
CMD ["serve"]
LABEL org.opencontainers.image.title="slimbayes" \
      org.opencontainers.image.description="Bayesian image classifiers, pruned and served: uncertainty at the price of a point estimate." \
      org.opencontainers.image.licenses="Apache-2.0"
