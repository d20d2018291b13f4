# allmlp serve on a CPU, in ONNX Runtime, without PyTorch. Not built by our tests: see docs/serving.md.
#
#     docker build -t allmlp-serve .
#     docker run --read-only --tmpfs /tmp --cap-drop ALL -p 8000:8000 -v "$PWD/mine.onnx:/model.onnx:ro" allmlp-serve
#
# Options of `allmlp serve` follow the name, after the model: ... allmlp-serve /model.onnx --max-queue 64
# Another port is a variable, which the health check reads, too: docker run -e PORT=9000 -p 9000:9000 ...
FROM python:3.11-slim AS build

COPY . /source
# The complete list of what runs an export, in the tested versions; pip would install PyTorch as well without --no-deps.
RUN python -m venv /app \
    && /app/bin/pip install --no-cache-dir -r /source/src/allmlp/exports/requirements/onnxruntime.txt \
    && /app/bin/pip install --no-cache-dir -c /source/constraints.txt fastapi prometheus-client python-multipart uvicorn \
    && /app/bin/pip install --no-cache-dir --no-deps /source

FROM python:3.11-slim

RUN useradd --no-create-home --uid 10001 allmlp
COPY --from=build /app /app

USER 10001
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PORT=8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/readyz\", timeout=2)"]
# The shell becomes allmlp, which therefore receives the signals.
ENTRYPOINT ["sh", "-c", "exec allmlp serve \"$@\" --host 0.0.0.0 --port \"$PORT\"", "allmlp-serve"]
CMD ["/model.onnx"]
