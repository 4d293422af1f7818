# One image for the service and for a site's agent.
FROM python:3.11-slim AS build
WORKDIR /app
COPY .locks ./.locks
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes -r .locks/dev.txt
COPY . .
RUN /venv/bin/python -m dashboards.vendor && rm -rf dashboards/node_modules

FROM python:3.11-slim
WORKDIR /app
COPY .locks/run.txt ./run.txt
RUN pip install --no-cache-dir --require-hashes -r run.txt && rm run.txt
COPY --from=build /app /app
RUN pip install --no-cache-dir --no-deps -e . \
 && useradd --system --home /var/lib/raumwart --create-home raumwart
USER raumwart
ENV FLEET_HOME=/var/lib/raumwart FLEET_HOST=0.0.0.0 FLEET_PORT=8080
VOLUME /var/lib/raumwart
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
CMD ["fleet", "serve"]
