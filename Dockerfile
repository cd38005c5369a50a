# syntax=docker/dockerfile:1
# Three images: `control` for the API, the dispatcher and the migrations, without torch; `worker` with torch's CPU build;
# `worker-gpu` with its CUDA build. The compose files say what each runs.
ARG PYTHON_IMAGE=python:3.11.15-slim-trixie
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

# The packages, in layers that only another pyproject.toml or lock replaces.
FROM ${PYTHON_IMAGE} AS packages
# A volume takes the owner of the folder that it is first mounted on.
RUN groupadd --gid 10001 hone \
 && useradd --uid 10001 --gid hone --home-dir /scratch --no-create-home --shell /usr/sbin/nologin hone \
 && install --directory --owner hone --group hone /scratch /storage /models /certificates
RUN python -m venv /opt/hone
ENV PATH=/opt/hone/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
COPY pyproject.toml requirements.lock ./
# The source is not there yet: empty folders and files stand for it.
RUN mkdir -p hone service worker migrations examples/demo \
 && touch README.md \
 && echo '__version__ = "0"' > hone/__init__.py \
 && pip install --no-cache-dir --constraint requirements.lock ".[service,s3]"

FROM packages AS worker-packages
# An index of CPU builds, for torch alone; empty: the build that pip's own index offers.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --constraint requirements.lock --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
 && pip install --no-cache-dir --constraint requirements.lock ".[service,worker,s3]"

FROM packages AS worker-gpu-packages
RUN pip install --no-cache-dir --constraint requirements.lock ".[service,worker,s3,eightbit]"

# The page's types come from the API's own description.
FROM packages AS description
COPY hone hone
COPY service service
RUN python -m service.openapi > /openapi.json

# The same steps as `npm run build`, without Python.
FROM ${NODE_IMAGE} AS page
WORKDIR /page
COPY service/dashboard/package.json service/dashboard/package-lock.json service/dashboard/.npmrc ./
RUN npm ci
COPY service/dashboard ./
COPY --from=description /openapi.json ./
RUN npx openapi-typescript openapi.json --output src/api/schema.d.ts \
 && npm run check \
 && npx vite build

# Hone itself as a wheel, which carries the page and the migrations.
FROM packages AS wheel
COPY README.md ./
COPY migrations migrations
COPY hone hone
COPY service service
COPY worker worker
COPY examples/demo examples/demo
COPY --from=page /page/dist service/dashboard/dist
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

# Each image: its packages and the wheel, run where no folder stands for a package. pip compiles what it installs: at run time the file system is read-only.
FROM packages AS control
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --force-reinstall /wheel/*.whl
WORKDIR /
USER hone
EXPOSE 8000
CMD ["hone", "--help"]

FROM worker-packages AS worker
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --force-reinstall /wheel/*.whl
WORKDIR /
USER hone
CMD ["hone", "--help"]

FROM worker-gpu-packages AS worker-gpu
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --force-reinstall /wheel/*.whl
WORKDIR /
USER hone
CMD ["hone", "--help"]
