#!/usr/bin/env bash
# Writes a backup of docker compose into backups/<time>, or into the folder that is given.
#
# Airflow's database goes first. If a task ends in between, the backup has its answers and not its success: after a
# restore Airflow runs it again, and it makes no call twice.
set -euo pipefail
cd "$(dirname "$0")/.."
to="${1:-backups/$(date -u +%Y-%m-%dT%H%M%SZ)}"
[ ! -e "$to" ] || { echo "there is a $to already: name another folder" >&2; exit 2; }
umask 077
mkdir -p "$to.part"
trap 'rm -rf "$to.part"' EXIT

docker compose exec -T postgres pg_dump --username airflow --format custom airflow > "$to.part/airflow.pgdump"
# --oplog: all collections as of one moment
docker compose exec -T mongo bash -c '
    umask 077; trap "rm -f /tmp/tools.yaml" EXIT; printf "password: %s\n" "$(cat /run/secrets/mongo_root_password)" > /tmp/tools.yaml
    mongodump --quiet --config /tmp/tools.yaml --username root --oplog --archive --gzip' > "$to.part/mongo.archive.gz"
for file in airflow.pgdump mongo.archive.gz; do
    [ -s "$to.part/$file" ] || { echo "$file is empty: nothing was backed up" >&2; exit 1; }
done
# Without the key, nobody can read the connections that were made in Airflow's pages.
cp -R secrets "$to.part/secrets"
[ ! -e .env ] || cp .env "$to.part/.env"
mv "$to.part" "$to"
echo "wrote $to: $(du -sh "$to" | cut -f1). It holds passwords and keys: keep it where they may be."
