# Two images from one file: `tallystick` (the last stage) and `minio`. Bases are pinned by version, not by digest:
# write the digests here that your registry shows you (docker buildx imagetools inspect IMAGE).

# MinIO publishes no more images. Its last commit, as tools/services/pins has it: go compares every module with go.sum.
FROM golang:1.25.3-alpine3.22 AS minio-build
WORKDIR /src
COPY tools/services/pins/minio/ ./
RUN CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags="-s -w" -o /minio github.com/minio/minio

FROM alpine:3.22.2 AS minio
RUN mkdir /data && chown 10001:10001 /data
COPY --from=minio-build /minio /usr/local/bin/minio
USER 10001:10001
ENTRYPOINT ["minio"]

FROM python:3.11.14-slim-bookworm AS build
COPY requirements.image.lock /src/
RUN python -m venv /opt/tallystick \
 && /opt/tallystick/bin/pip install --no-cache-dir --require-hashes -r /src/requirements.image.lock
COPY pyproject.toml README.md LICENSE /src/
COPY approvals/ /src/approvals/
COPY bus/ /src/bus/
COPY evidence/ /src/evidence/
COPY ingest/ /src/ingest/
COPY ledger/ /src/ledger/
COPY mask/ /src/mask/
COPY policy/ /src/policy/
COPY schemas/ /src/schemas/
COPY seal/ /src/seal/
COPY stream/ /src/stream/
COPY tallystick/ /src/tallystick/
COPY wire/ /src/wire/
RUN /opt/tallystick/bin/pip install --no-cache-dir --no-deps --no-build-isolation /src

FROM python:3.11.14-slim-bookworm AS tallystick
COPY --from=build /opt/tallystick /opt/tallystick
# New volumes take their owner from here.
RUN for place in config data keys keys-approvals keys-gateway keys-behaviour keys-ledger keys-mask keys-people keys-notify made people secrets \
      store target; do install -d -m 0700 -o 10001 -g 10001 /$place; done && chmod 0755 /target
ENV PATH=/opt/tallystick/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["tallystick"]
CMD ["--help"]
