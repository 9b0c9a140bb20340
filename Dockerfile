# The service, for a machine with Docker: docs/going-live.md, "Docker".
FROM python:3.13-slim

WORKDIR /app
# No package needs a compiler.
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY . .
RUN useradd --system --no-create-home --uid 10001 bridge \
    && install --directory --owner=10001 --mode=700 /state

USER 10001
ENV PORT=8000 STATE_DIR=/state PYTHONUNBUFFERED=1
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import http.client as c, os, sys; r = c.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); r.request('GET', '/'); sys.exit(r.getresponse().status != 200)"]
CMD ["gunicorn", "app:create_app()"]
