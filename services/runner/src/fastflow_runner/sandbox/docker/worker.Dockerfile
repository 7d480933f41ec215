# The image of every run and every preparer: an interpreter, uv, and the supervisor that is process 1.
#
# Built by the runner on first use (fastflow_runner/sandbox/image.py) from a context of these files:
#   guest/         the folder fastflow_runner/guest
#   extra-ca.pem   certificates to trust besides Debian's own; may be empty
# Written for the classic builder as well as BuildKit. Pipelines that need more than this image has (git, a compiler, a
# driver's library) get it through WORKER_BASE_IMAGE, any Debian or Ubuntu image whose python3 is WORKER_PYTHON.
ARG WORKER_BASE_IMAGE=debian:bookworm-slim

FROM ${WORKER_BASE_IMAGE} AS base
ARG WORKER_PYTHON=3.11
# libgomp1, libstdc++6, zlib1g: what manylinux wheels may take for granted. tzdata: zoneinfo. nftables: the firewall.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgomp1 libstdc++6 nftables python3 python3-distutils tzdata zlib1g \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
 && /usr/bin/python3 -I -S -c 'import sys; v = "%d.%d" % sys.version_info[:2]; v == sys.argv[1] or sys.exit(f"WORKER_BASE_IMAGE brings Python {v}; take one whose python3 is {sys.argv[1]}")' "${WORKER_PYTHON}"
COPY extra-ca.pem /opt/fastflow/
RUN cat /opt/fastflow/extra-ca.pem >> /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt LANG=C.UTF-8

FROM base AS uv
ARG UV_VERSION=0.13.9
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip \
 && python3 -m pip install --no-cache-dir --no-deps --no-compile --only-binary :all: --disable-pip-version-check \
      --root-user-action ignore --cert "${SSL_CERT_FILE}" --target /uv "uv==${UV_VERSION}"

FROM base
COPY --from=uv /uv/bin/uv /usr/local/bin/uv
# The store's mount point: a fresh named volume takes over its owner.
RUN groupadd --gid 65532 fastflow \
 && useradd --uid 65532 --gid 65532 --no-log-init --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fastflow \
 && mkdir /store /work && chown 65532:65532 /store /work \
 && ln -s ../../bin/python3 /usr/local/bin/python
COPY guest/ /opt/fastflow/
# Compiled, the supervisor is up some milliseconds earlier, and so is the cell runner.
RUN python3 -I -S -m compileall -q /opt/fastflow
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/usr/bin/python3", "-I", "-S", "/opt/fastflow/supervisor"]
