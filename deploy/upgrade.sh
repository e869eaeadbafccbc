#!/usr/bin/env bash
# Brings docker compose to the version in this folder: a backup, the new image, the database, then all services.
set -euo pipefail
cd "$(dirname "$0")/.."

docker compose build
deploy/backup.sh
# Workers first: a task that ends in time is not run again.
docker compose stop airflow-worker
docker compose up --detach --wait --remove-orphans
docker compose exec -T airflow-scheduler airflow version
