# Scope-Opt with everything that it needs, to run its commands on the files of a folder:
#
#   docker build -t scope-opt .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" scope-opt solve resnet50-64 -o best.json
#
# Dependencies have the versions of requirements.lock.
FROM python:3.11-slim AS build
RUN python -m venv /opt/scope-opt
ENV PATH=/opt/scope-opt/bin:$PATH
WORKDIR /source
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11-slim
COPY --from=build /opt/scope-opt /opt/scope-opt
# Compiled searches are cached where every user may write, and the usual ones compiled now.
ENV PATH=/opt/scope-opt/bin:$PATH \
    NUMBA_CACHE_DIR=/var/cache/scope-opt
RUN scope-opt solve tiny-skip --solver exact --json > /dev/null \
    && scope-opt solve tiny-travel --solver exact --json > /dev/null \
    && chmod -R a+rwX /var/cache/scope-opt
USER nobody
WORKDIR /data
ENTRYPOINT ["scope-opt"]
CMD ["--help"]
