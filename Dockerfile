# syntax=docker/dockerfile:1

# 3.13 is the newest Python that Tenantry supports. `slim` is Debian with glibc: the locked packages (psycopg, cryptography,
# orjson, uuid-utils) have wheels for it, so no compiler is needed, and nothing that isn't run gets into the image.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1
COPY requirements.txt .
RUN python -m venv /venv \
 && /venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: --requirement requirements.txt

FROM ${PYTHON}
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin tenantry \
 && install --directory --owner tenantry --group tenantry /data
COPY --from=packages /venv /venv
WORKDIR /app
COPY . .
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data STATIC_ROOT=/static PORT=8000
# Settings ask for these; collecting files uses none of them, and none of them stays in the image.
RUN SECRET_KEY=build CREDENTIALS_KEYS=build ACTIVITY_SIGNING_KEYS=build CONTROL_DATABASE_URL=postgres://build/build \
    MONGO_URL=mongodb://build/build REDIS_URL=redis://build \
    python manage.py collectstatic --no-input
USER tenantry
VOLUME /data
EXPOSE 8000
# Celery's warm shutdown and gunicorn's graceful one both answer to SIGTERM.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD [".docker/entrypoint", "health", "web"]
ENTRYPOINT [".docker/entrypoint"]
CMD ["web"]
