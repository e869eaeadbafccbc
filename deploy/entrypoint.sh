#!/usr/bin/env bash
# The entrypoint of the image: that of Airflow, after the addresses of compose's MongoDB were made of its password, a file.
# An address that .env gives wins. Elsewhere, as on Kubernetes, there is no such file, and this does nothing.
set -eu
secret=/run/secrets/mongo_password
if [ -r "$secret" ]; then
    place="windrow:$(cat "$secret")@mongo:27017/windrow?replicaSet=rs0"
    export AIRFLOW_CONN_MONGO_DEFAULT="${AIRFLOW_CONN_MONGO_DEFAULT:-mongo://$place}"
    export MONGO_URL="${MONGO_URL:-mongodb://$place}"
fi
exec /usr/bin/dumb-init -- /entrypoint "$@"
