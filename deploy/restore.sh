#!/usr/bin/env bash
# Puts a backup of deploy/backup.sh back into docker compose. What was written since the backup is lost.
set -euo pipefail
cd "$(dirname "$0")/.."
from="${1:?make restore FROM=backups/...: which backup?}"
for file in airflow.pgdump mongo.archive.gz secrets/fernet_key; do
    [ -s "$from/$file" ] || { echo "$from has no $file: it is not a whole backup" >&2; exit 2; }
done
if [ ! -e secrets/fernet_key ]; then
    cp -R "$from/secrets" secrets
elif ! cmp -s "$from/secrets/fernet_key" secrets/fernet_key; then
    echo "secrets/fernet_key is not that of $from: Airflow could not read its connections. Copy $from/secrets/fernet_key" >&2
    exit 2
fi

docker compose up --detach --wait postgres mongo
docker compose stop airflow-worker airflow-scheduler airflow-dag-processor airflow-triggerer airflow-apiserver
docker compose exec -T postgres pg_restore --username airflow --dbname airflow --clean --if-exists \
    --single-transaction < "$from/airflow.pgdump"
docker compose exec -T mongo bash -c '
    umask 077; trap "rm -f /tmp/tools.yaml" EXIT; printf "password: %s\n" "$(cat /run/secrets/mongo_root_password)" > /tmp/tools.yaml
    mongorestore --quiet --config /tmp/tools.yaml --username root --drop --oplogReplay --archive --gzip
    ' < "$from/mongo.archive.gz"
docker compose up --detach --wait
echo "restored $from"
