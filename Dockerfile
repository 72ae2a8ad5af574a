# One image for all five services; the argument says which: `serve intake`, `migrate sla`, …
FROM python:3.11-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# What the desk needs, exactly as locked. Wheels only: nothing is compiled, so no compiler is here.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install \
        --require-hashes --no-deps --only-binary :all: -r requirements.lock

# The build backend is locked as well; it stays in this stage.
COPY requirements-dev.lock ./
RUN awk '/^[A-Za-z0-9]/ { keep = /^setuptools==/ } keep' requirements-dev.lock > backend.lock \
    && pip install --require-hashes --no-deps --only-binary :all: -r backend.lock

COPY pyproject.toml README.md ./
COPY shared ./shared
COPY services ./services
RUN pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/venv/bin/python install --no-deps --no-index dist/*.whl \
    && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM python:3.11-slim

RUN pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip \
    && groupadd --gid 10001 desk \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin desk \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/desk
COPY --from=build /opt/venv /opt/venv

# A number, because Kubernetes cannot tell whether a name is root.
USER 10001:10001
WORKDIR /tmp
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8080
ENTRYPOINT ["desk"]
