#!/usr/bin/env bash
# Pulls the images of docker compose and writes what they are into .env, so that each later start takes the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
touch .env
chmod 600 .env

pin() { # VARIABLE IMAGE
    docker pull --quiet "$2" > /dev/null
    digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$2" | grep -oE '@sha256:[0-9a-f]{64}$') \
        || { echo "$2 has no digest: it did not come from a registry" >&2; exit 1; }
    sed -i.bak "/^$1=/d" .env && rm .env.bak
    echo "$1=$digest" >> .env
    echo "$2$digest"
}

image() { # the reference of a service in the file, without its variable
    sed -nE "s|^ +image: ($1[^\$]*)\\$.*|\1|p" docker-compose.yaml | head -n 1
}

pin POSTGRES_DIGEST "$(image postgres:)"
pin VALKEY_DIGEST "$(image valkey/)"
pin MONGO_DIGEST "$(image mongo:)"
pin AIRFLOW_DIGEST "$(sed -nE 's|^FROM ([^$]*)\$.*|\1|p' deploy/Dockerfile)"
