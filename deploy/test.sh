#!/usr/bin/env bash
# Builds the image and runs docker-compose.yaml as it is, from a copy of this folder, under a project name, with volumes, a
# port and secrets of its own: what already runs here is not touched. Two workers share tasks, one is killed; then three
# workers, down and up, a backup, a restore onto empty volumes, an upgrade, the clean-up of what is old, the publisher without
# a token.
#
# Without an image registry, deploy/imitations/make.sh builds stand-ins for the images. Says what is wrong with code 1;
# without an engine, with code 2.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! docker info >/dev/null 2>&1 || ! docker compose version >/dev/null 2>&1; then
    echo "make deploy-test needs a running Docker engine with the compose plugin: install Docker, start it, try again." >&2
    exit 2
fi

# What .env or the shell has set for a real deployment must not decide here: the shell wins over .env.
for name in $(env | sed -nE 's/^((AIRFLOW|WINDROW|GOOGLE|POSTGRES|MONGO|VALKEY|COMPOSE|X)_[A-Z0-9_]*)=.*/\1/p'); do
    unset "$name"
done
export COMPOSE_PROJECT_NAME=windrow-test

folder=$(mktemp -d)
clean_up() {
    code=$?
    if [ "$code" != 0 ]; then
        docker compose ps --all || true
        docker compose logs --tail 40 || true
    fi
    docker compose --profile x down --volumes --timeout 20 || true
    rm -rf "$folder"
    exit "$code"
}
git ls-files -z | tar -c --null -T - | tar -x -C "$folder"
cp -R deploy "$folder"
cd "$folder"
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    echo "$1" >&2
    exit 1
}

cp deploy/test_dag.py dags/
deploy/secrets.sh >/dev/null
cat >.env <<EOF
WINDROW_AIRFLOW_PORT=28480
AIRFLOW_CONN_A_NEW_SOURCE='{"conn_type": "http", "host": "https://api.example.com", "password": "p\$w"}'
AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID=a_new_source
EOF
if ! docker compose pull --quiet --ignore-buildable 2>/dev/null; then
    echo "no image registry answers: deploy/imitations/make.sh builds stand-ins for the images"
    deploy/imitations/make.sh
fi

up() { docker compose up --detach --wait --wait-timeout 600 --scale "airflow-worker=$1" 2>/dev/null; }
run() { docker compose exec -T "$@"; }
python_in_worker() { run airflow-worker bash /opt/windrow-entrypoint python -c "$1" | tail -n 1; }
sql() { run postgres psql --username airflow --dbname airflow --no-align --tuples-only --command "$1"; }
# The state of all tasks in Airflow, and the documents of the test's DAG in MongoDB.
facts() {
    sql "select count(*), count(*) filter (where state = 'success') from task_instance"
    python_in_worker 'from airflow.providers.mongo.hooks.mongo import MongoHook
print(sorted(one["_id"] for one in MongoHook(mongo_conn_id="mongo_default").find("deploy_test", {})))'
}

docker compose build --quiet
up 2

health=$(curl --fail --silent --show-error http://127.0.0.1:28480/api/v2/monitor/health)
healthy=$(grep -oE '"status": *"healthy"' <<<"$health" | wc -l)
[ "$healthy" = 4 ] || fail "of the database, scheduler, triggerer and DAG processor, $healthy are healthy: $health"
given=$(python_in_worker 'from airflow.sdk import Connection; print(Connection.get("a_new_source").password)')
[ "$given" = 'p$w' ] || fail "a connection of .env did not reach the worker: $given"
given=$(run airflow-scheduler airflow config get-value logging remote_log_conn_id | tail -n 1)
[ "$given" = a_new_source ] || fail "a setting of .env did not reach the scheduler: $given"
docker inspect "$(docker compose ps --quiet airflow-scheduler)" | grep -qF "$(cat secrets/postgres_password)" \
    && fail "docker inspect shows the password of PostgreSQL"

# The DAG processor reads the folder when it has started, file by file.
expected=$(grep -lE '@dag|DAG\(|harvest_dag' dags/*.py | wc -l)
for _ in $(seq 60); do
    errors=$(sql "select filename, stacktrace from import_error")
    [ -z "$errors" ] || fail "DAGs do not load: $errors"
    parsed=$(sql "select count(distinct fileloc) from dag")
    [ "$parsed" -lt "$expected" ] || break
    sleep 2
done
[ "$parsed" -ge "$expected" ] || fail "of $expected files with DAGs, Airflow has read $parsed"
echo "healthy; $parsed files with DAGs read, no import errors; settings and connections of .env reach the containers"

# --- a worker is killed --------------------------------------------------------------------------

run airflow-scheduler airflow dags trigger deploy_test --run-id killed >/dev/null
running="select count(distinct hostname) from task_instance where run_id = 'killed' and state = 'running'"
for _ in $(seq 60); do [ "$(sql "$running")" != 2 ] || break; sleep 1; done
[ "$(sql "$running")" = 2 ] || fail "two workers did not share the tasks"
docker kill "$(docker compose ps --quiet airflow-worker | head -n 1)" >/dev/null
killed=$SECONDS
again="select count(*) from task_instance where run_id = 'killed' and try_number > 1"
for _ in $(seq 120); do [ "$(sql "$again")" = 0 ] || break; sleep 1; done
noticed=$((SECONDS - killed))
[ "$(sql "$again")" != 0 ] || fail "after $noticed s nobody had noticed that a worker was killed"
ended="select state from dag_run where run_id = 'killed'"
for _ in $(seq 300); do [ "$(sql "$ended")" = running ] || break; sleep 1; done
[ "$(sql "$ended")" = success ] || fail "the run with a killed worker ended as $(sql "$ended")"
before=$(facts)
[ "$(grep -oE 'killed [0-9]' <<<"$before" | sort -u | wc -l)" = 8 ] || fail "tasks of the killed worker are missing: $before"
echo "a worker was killed: noticed after $noticed s, and every task of the run has ended"

# --- what is kept ----------------------------------------------------------------------------------

up 3
[ "$(docker compose ps --quiet airflow-worker | wc -l)" = 3 ] || fail "there are not three workers"
docker compose down --timeout 20 2>/dev/null
up 2
[ "$(facts)" = "$before" ] || fail "after down and up: $(facts), before: $before"
echo "three workers; down and up kept everything"

deploy/backup.sh "$folder/backup"
docker compose down --volumes --timeout 20 2>/dev/null
deploy/restore.sh "$folder/backup" 2>/dev/null
[ "$(facts)" = "$before" ] || fail "after the restore onto empty volumes: $(facts), before: $before"
deploy/upgrade.sh >/dev/null 2>&1 || fail "deploy/upgrade.sh failed"
[ "$(facts)" = "$before" ] || fail "after the upgrade: $(facts), before: $before"
echo "a backup, a restore onto empty volumes, and an upgrade kept everything"

# A run that waits since 150 days keeps what is newer than it, of all that is older than 90.
sql "update dag set is_paused = true where dag_id = 'deploy_test'" >/dev/null
run airflow-scheduler airflow dags trigger deploy_test --run-id waiting >/dev/null
sql "update dag_run set start_date = now() - interval '200 days' where run_id = 'killed'" >/dev/null
sql "update dag_run set queued_at = now() - interval '150 days', run_after = now() - interval '150 days'
    where run_id = 'waiting'" >/dev/null
run airflow-clean bash -c "cd logs; touch -d '200 days ago' old.log; touch -d '100 days ago' needed.log"
docker compose restart airflow-clean 2>/dev/null
for _ in $(seq 60); do run airflow-clean test -e logs/old.log || break; sleep 2; done
run airflow-clean test ! -e logs/old.log || fail "airflow-clean left an old log: $(docker compose logs --tail 20 airflow-clean)"
run airflow-clean test -e logs/needed.log || fail "airflow-clean deleted a log that a run in progress needs"
left=$(sql "select string_agg(run_id, ' ' order by run_id) from dag_run")
[ "$left" = waiting ] || fail "airflow-clean left the runs: $left"
echo "airflow-clean deleted an old run and an old log, and nothing that a waiting run needs"

docker compose --profile x up --detach x-publisher 2>/dev/null
publisher=$(docker compose --profile x ps --all --quiet x-publisher)
[ "$(timeout 60 docker wait "$publisher")" = 0 ] || fail "the publisher without a token goes on"
docker logs "$publisher" 2>&1 | grep -q X_BEARER_TOKEN || fail "the publisher does not say that X_BEARER_TOKEN is missing"
echo "the publisher without a token says so, and ends"
docker stats --no-stream --format 'table {{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.PIDs}}'
