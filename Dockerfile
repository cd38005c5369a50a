# syntax=docker/dockerfile:1
# One image for the API, the dispatcher, the worker and the migrations; docker-compose.yml says what each runs.
ARG PYTHON=3.11
ARG NODE=24

# The packages, in a layer that only another pyproject.toml or lock replaces.
FROM python:${PYTHON}-slim AS packages
# Another index for torch, e.g. of its CPU builds; empty: the build that pip finds by itself, which is CUDA's on x86-64.
ARG TORCH_INDEX=""
RUN python -m venv /opt/hone
ENV PATH=/opt/hone/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
COPY pyproject.toml requirements.lock README.md ./
# The source is not there yet: empty folders stand for it.
RUN mkdir -p hone service worker migrations examples/demo \
 && echo '__version__ = "0"' > hone/__init__.py \
 && pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint requirements.lock ".[service,worker,s3]"

# The page's types come from the API's own description.
FROM packages AS description
COPY hone hone
COPY service service
RUN python -m service.openapi > /openapi.json

# The same steps as `npm run build`, without Python.
FROM node:${NODE}-slim AS page
WORKDIR /page
COPY service/dashboard/package.json service/dashboard/package-lock.json service/dashboard/.npmrc ./
RUN npm ci
COPY service/dashboard ./
COPY --from=description /openapi.json ./
RUN npx openapi-typescript openapi.json --output src/api/schema.d.ts \
 && npm run check \
 && npx vite build

FROM packages
# A volume takes the owner of the folder that it is first mounted on.
RUN groupadd --gid 10001 hone \
 && useradd --uid 10001 --gid hone --home-dir /scratch --no-create-home --shell /usr/sbin/nologin hone \
 && install --directory --owner hone --group hone /scratch /storage /models
COPY migrations migrations
COPY hone hone
COPY service service
COPY worker worker
COPY examples/demo examples/demo
COPY --from=page /page/dist service/dashboard/dist
# As a wheel, which carries the page and the migrations. pip compiles it: at run time the file system is read-only.
RUN pip install --no-cache-dir --no-deps --force-reinstall .
USER hone
EXPOSE 8000
CMD ["hone", "--help"]
