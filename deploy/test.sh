#!/usr/bin/env bash
# Builds the image and starts docker-compose.yaml as it is, under a project name, with volumes, a port and an .env of
# its own: what already runs here is not touched. Says what is wrong with code 1; without an engine, with code 2.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! docker info >/dev/null 2>&1 || ! docker compose version >/dev/null 2>&1; then
    echo "make deploy-test needs a running Docker engine with the compose plugin: install Docker, start it, try again." >&2
    exit 2
fi

settings=$(mktemp)
# What .env or the shell has set for a real deployment must not decide here: the shell wins over --env-file.
for name in $(env | sed -nE 's/^((AIRFLOW|WINDROW|GOOGLE|POSTGRES|MONGO|COMPOSE|X)_[A-Z0-9_]*)=.*/\1/p'); do
    unset "$name"
done

compose() {
    docker compose --project-name windrow-test --env-file "$settings" "$@"
}

clean_up() {
    code=$?
    if [ "$code" != 0 ]; then
        compose ps --all || true
        compose logs --tail 40 || true
    fi
    compose down --volumes --timeout 20 || true
    rm -f "$settings"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

secret() {
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

# A Fernet key is 32 bytes in URL-safe base64.
cat >"$settings" <<EOF
AIRFLOW__CORE__FERNET_KEY=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')
AIRFLOW__API_AUTH__JWT_SECRET=$(secret 64)
AIRFLOW__API__SECRET_KEY=$(secret 32)
POSTGRES_PASSWORD=$(secret 16)
MONGO_ROOT_PASSWORD=$(secret 16)
MONGO_PASSWORD=$(secret 16)
WINDROW_ADMIN_PASSWORD=$(secret 8)
WINDROW_AIRFLOW_PORT=28480
EOF

compose build
compose up --detach --wait --wait-timeout 600

health=$(curl --fail --silent --show-error http://127.0.0.1:28480/api/v2/monitor/health)
echo "$health"
healthy=$(grep -oE '"status": *"healthy"' <<<"$health" | wc -l)
[ "$healthy" = 4 ] || { echo "of the database, scheduler, triggerer and DAG processor, $healthy are healthy" >&2; exit 1; }

# The last line is JSON; warnings come before it. `|| true`: Airflow ends with 1 when there are errors to list.
airflow_list() {
    compose exec -T airflow-dag-processor airflow dags "$@" --output json | tail -n 1 || true
}

# The DAG processor reads the folder when it has started, file by file.
expected=$(grep -lE '@dag|DAG\(' dags/*.py | wc -l)
for _ in $(seq 30); do
    errors=$(airflow_list list-import-errors)
    [ "$errors" = "[]" ] || { echo "DAGs do not load: $errors" >&2; exit 1; }
    parsed=$(airflow_list list | grep -oE '"fileloc": *"[^"]*"' | sort -u | wc -l)
    [ "$parsed" -lt "$expected" ] || break
    sleep 5
done
[ "$parsed" -ge "$expected" ] || { echo "of $expected files with DAGs, Airflow has read $parsed" >&2; exit 1; }
echo "docker compose: healthy, $parsed files with DAGs read, no import errors"
