# Windrow. `make help` lists what there is; README.md says what it is for.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := .venv-uv/bin/uv
UV_READY := .venv-uv/.ready
AIRFLOW_PYTHON := .venv/bin/python
CLOUD_PYTHON := .venv-cloud/bin/python
LOCAL_CLOUD := $(AIRFLOW_PYTHON) -m local_cloud

export UV_PYTHON_DOWNLOADS := never
unexport PYTHONDONTWRITEBYTECODE # it makes every process compile Airflow, mypy and pytest anew at every start

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --- environments ------------------------------------------------------------------------------

.PHONY: setup
setup: $(UV_READY) ## make the environments: Airflow with tests, and the local cloud
	@$(MAKE) --silent --no-print-directory -j3 .venv/.ready .venv-cloud/.ready .venv-aws/.ready

# Every package is installed by its hash: one that is not the one that was locked is refused.
INSTALL := $(UV) pip install --quiet --require-hashes

$(UV_READY): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "windrow needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv --clear .venv-uv \
		|| { echo "'$(PYTHON) -m venv' does not work here. On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.ready: $(UV_READY) requirements.txt requirements/dev.txt requirements/dev-nodeps.txt
	@echo "setting up Airflow and the test tools (.venv)"
	@$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv
	@$(INSTALL) --python $(AIRFLOW_PYTHON) -r requirements.txt -r requirements/dev.txt
	@$(INSTALL) --python $(AIRFLOW_PYTHON) --no-deps -r requirements/dev-nodeps.txt
	@touch $@

.venv-cloud/.ready: $(UV_READY) requirements/cloud.txt requirements/cloud-nodeps.txt
	@echo "setting up the local cloud (.venv-cloud)"
	@$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv-cloud
	@$(INSTALL) --python $(CLOUD_PYTHON) -r requirements/cloud.txt
	@# what is in this file asks for a newer Python than it gets: local_cloud/emulators/bigquery_py311.py
	@$(INSTALL) --python $(CLOUD_PYTHON) --python-version 3.13 --no-deps -r requirements/cloud-nodeps.txt
	@touch $@

.venv-aws/.ready: $(UV_READY) requirements/aws.txt
	@echo "setting up the local cloud's AWS side (.venv-aws)"
	@$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv-aws
	@$(INSTALL) --python .venv-aws/bin/python -r requirements/aws.txt
	@touch $@

.venv-bench/.ready: $(UV_READY) requirements/bench.txt
	@echo "setting up the benchmarks' peers (.venv-bench)"
	@$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv-bench
	@$(INSTALL) --python .venv-bench/bin/python -r requirements/bench.txt
	@touch $@

.venv-deploy/.ready: $(UV_READY) requirements/deploy.txt requirements/deploy-nodeps.txt
	@echo "setting up what deploy/ is checked with (.venv-deploy)"
	@$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv-deploy
	@$(INSTALL) --python .venv-deploy/bin/python -r requirements/deploy.txt
	@$(INSTALL) --python .venv-deploy/bin/python --no-deps -r requirements/deploy-nodeps.txt
	@touch $@

.venv-fab/.ready: $(UV_READY) requirements.txt requirements/dev.txt requirements/dev-nodeps.txt requirements/kubernetes-nodeps.txt
	@echo "setting up Airflow with the FAB auth manager (.venv-fab)"
	@$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv-fab
	@$(INSTALL) --python .venv-fab/bin/python -r requirements.txt -r requirements/dev.txt
	@$(INSTALL) --python .venv-fab/bin/python --no-deps -r requirements/dev-nodeps.txt -r requirements/kubernetes-nodeps.txt
	@touch $@

.venv-audit/.ready: $(UV_READY) requirements/audit.txt
	@echo "setting up pip-audit (.venv-audit)"
	@$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv-audit
	@$(INSTALL) --python .venv-audit/bin/python -r requirements/audit.txt
	@touch $@

# Versions stay as they are where requirements/*.in allow it: an upgrade is a change of its own.
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes

.PHONY: lock audit
lock: $(UV_READY) ## resolve requirements/*.in into pinned files with hashes again
	@$(COMPILE) --python-version 3.11 requirements/airflow.in -o requirements.txt
	@for name in dev cloud aws bench audit deploy uv; do \
		$(COMPILE) --python-version 3.11 requirements/$$name.in -o requirements/$$name.txt; done
	@for name in dev-nodeps kubernetes-nodeps deploy-nodeps; do \
		$(COMPILE) --python-version 3.11 --no-deps requirements/$$name.in -o requirements/$$name.txt; done
	@$(COMPILE) --python-version 3.13 --no-deps requirements/cloud-nodeps.in -o requirements/cloud-nodeps.txt
	@{ echo "# ../requirements.txt without its hashes, for services that do not accept them. \`make lock\` writes both."; \
		sed -E '/^#|^ +--hash=/d; s/ \\$$//' requirements.txt; } > requirements/no-hashes.txt

# 3 is "not checked": said, and no failure on a machine without a way out. In CI it is one.
audit: .venv-audit/.ready ## look for known vulnerabilities of all that is locked, or say that nobody could be asked
	@.venv-audit/bin/python requirements/audit.py || { code=$$?; [ $$code = 3 ] && [ -z "$${CI:-}" ]; }

# --- the local cloud ---------------------------------------------------------------------------

.PHONY: demo up down status logs clean airflow windrow
demo: setup ## start everything, run every DAG, show the result
	@$(LOCAL_CLOUD) demo

up: setup ## start the local cloud and Airflow, and leave them running
	@$(LOCAL_CLOUD) up

down: ## stop all that `up` or `demo` started
	@if [ -x $(AIRFLOW_PYTHON) ]; then $(LOCAL_CLOUD) down; else echo "nothing is set up, so nothing runs"; fi

airflow: setup ## Airflow's command line on the local cloud: make airflow ARGS="dags list"
	@$(LOCAL_CLOUD) airflow $(ARGS)

.PHONY: windrow
windrow: setup ## the command windrow, on the local cloud: make windrow ARGS="status", ARGS="new shop_orders"
	@$(LOCAL_CLOUD) windrow $(ARGS)

status: setup ## say which services run, and where
	@$(LOCAL_CLOUD) status

logs: setup ## follow the logs of all services
	@$(LOCAL_CLOUD) logs

clean: down ## stop, and delete the data and logs of the local cloud (environments stay)
	@if [ -x $(AIRFLOW_PYTHON) ]; then $(LOCAL_CLOUD) clean; fi

# --- what is deployed ----------------------------------------------------------------------------

# setuptools writes beside what it builds, and packs what an earlier build left there: so it gets a copy.
.PHONY: package
package: setup ## build into build/dist the wheel of the command, and what Composer, MWAA, Astronomer and others take
	@rm -rf build/package build/dist; mkdir -p build/package/requirements
	@cp -R pyproject.toml README.md LICENSE NOTICE plugins build/package/
	@cp requirements/airflow.in requirements/openlineage.in build/package/requirements/
	@rm -rf build/package/plugins/windrow.dist-info
	@$(UV) build --quiet --wheel --offline --no-build-isolation --python $(AIRFLOW_PYTHON) --out-dir build/dist build/package
	@$(AIRFLOW_PYTHON) deploy/package.py build/dist
	@rm -rf build/package; echo "wrote $$(ls -d build/dist/* | tr '\n' ' ')"

.PHONY: function
function: setup ## package the Cloud Functions into build/, each as a folder and a zip
	@$(AIRFLOW_PYTHON) include/functions/package.py fetch_passenger
	@$(AIRFLOW_PYTHON) include/functions/package.py posts_to_bigquery

.PHONY: lambda lambda-ask
lambda: setup ## package the Lambda function top_tracks into a zip with all it needs
	@$(AIRFLOW_PYTHON) include/functions/package_lambda.py top_tracks

lambda-ask: lambda ## deploy it on the local cloud and ask it: make lambda-ask ARTIST="Halden Pike"
	@$(AIRFLOW_PYTHON) -m local_cloud.top_tracks "$(ARTIST)"

# For docker compose: deploy/README.md.
.PHONY: secrets backup restore upgrade pin-images
secrets: ## write passwords and keys for docker compose into secrets/
	@deploy/secrets.sh

backup: ## back up docker compose into backups/
	@deploy/backup.sh

FROM :=
restore: ## put a backup back: make restore FROM=backups/...
	@deploy/restore.sh $(FROM)

upgrade: ## bring docker compose to the version in this folder, after a backup
	@deploy/upgrade.sh

pin-images: ## pull the images of docker compose and write their digests into .env
	@deploy/pin.sh

# --- measuring ---------------------------------------------------------------------------------

BENCH_PYTHON := .venv-bench/bin/python

.PHONY: bench bench-check bench-memory bench-landing bench-merge bench-dispatch bench-status bench-idle bench-latency bench-pages bench-stream bench-workers bench-youtube bench-year bench-scale
bench: setup .venv-bench/.ready ## the engine beside its peers: eight minutes
	@PYTHONPATH=plugins:. $(BENCH_PYTHON) -m benchmarks.engine
	@PYTHONPATH=plugins:. $(BENCH_PYTHON) -m benchmarks.engine --connections 256 --delay-ms 0 --rounds 11 --only engine,dlt,bare --results engine_256.json
	@PYTHONPATH=plugins:. $(BENCH_PYTHON) -m benchmarks.engine --delay-ms 50 --only engine,dlt,bare --results engine_50ms.json

bench-check: setup .venv-bench/.ready ## whether the engine became slower, beside bare aiohttp and dlt: a minute
	@PYTHONPATH=plugins:. $(BENCH_PYTHON) -m benchmarks.check $(ARGS)

bench-workers: setup ## one worker and two on the same plan: CPU a call, and the speed-up: a minute
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.workers $(ARGS)

bench-memory: setup .venv-bench/.ready ## the engine's memory at 10,000 and at 200,000 calls: some minutes
	@PYTHONPATH=plugins:. $(BENCH_PYTHON) -m benchmarks.engine --memory

bench-landing: setup ## CPU and memory of landing a million rows, column by column and row by row: three minutes
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.landing

bench-merge: setup ## a million staged rows to a merged table, on the local cloud: a minute
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.merge

bench-year: setup ## a year of the five systems in MongoDB, with housekeeping: half an hour
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.year $(ARGS)

bench-scale: setup ## 100 workers and a pool, simulated: a minute; writes tables into docs/scale.md
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.scale

bench-youtube: setup .venv-bench/.ready ## 146,000 calls with faults and a kill, a loop and dlt beside: ten minutes
	@PYTHONPATH=plugins:. $(BENCH_PYTHON) -m benchmarks.youtube

bench-dispatch: setup ## a loop, the engine and Cloud Tasks on the same calls: about five minutes
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.dispatch

bench-status: setup ## how long a snapshot for the Harvest page takes: a minute
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.status

bench-idle: setup ## what Airflow costs while nothing is to do, by service and DAG: a quarter of an hour
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.idle $(ARGS)

bench-latency: setup ## seconds from a trigger to merged rows, and from a message to DynamoDB: five minutes
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.latency $(ARGS)

bench-pages: setup ## how fast the Harvest pages are in Chromium, and what open tabs cost others: some minutes
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.pages

bench-stream: setup ## x_posts at 250 matching posts a second for ten minutes: about a quarter of an hour
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.stream

# --- checks ------------------------------------------------------------------------------------

# Two end-to-end modules at a time, or one beside other tests, keep two cores busy; more only wait for one another.
WORKERS := 2
PYTEST := $(AIRFLOW_PYTHON) -m pytest
T :=
K :=
SEED :=
RANDOMLY := $(if $(SEED),-p randomly --randomly-seed=$(SEED))

.PHONY: quick integrity test lint format messages
quick: setup ## style, types, layers, and the tests that need neither Airflow nor a server: a minute
	@$(MAKE) --silent --no-print-directory -j2 lint quick-tests  # the types take one core for half a minute

.PHONY: quick-tests
quick-tests:
	@$(PYTEST) -q -m quick tests/unit --ignore=tests/unit/hooks --ignore=tests/unit/operators  # these import Airflow

integrity: setup ## the tests of the DAG files alone; for the CI of who only writes DAGs
	@$(PYTEST) -q tests/dags

test: setup ## every check and test; some: make test T=tests/unit/test_client.py K=refresh; in random order: SEED=123
	@for path in $(T); do [ -e "$${path%%::*}" ] \
		|| { echo "make test: there is no $${path%%::*}. T names files or folders, like T=tests/unit/test_client.py"; exit 2; }; done
	@$(if $(T)$(K),,$(MAKE) --silent --no-print-directory -j2 .venv-audit/.ready lint .venv/.compiled)
	@$(PYTEST) --maxfail=10 $(RANDOMLY) $(if $(T)$(K),,-n $(WORKERS) --dist loadscope --no-loadscope-reorder) $(T) $(if $(K),-k "$(K)") \
		|| { code=$$?; [ $$code != 5 ] || echo "make test: no test$(if $(T), of $(T)) matches K=$(K)"; exit $$code; }

# Workers collect the same tests at once, and each would compile all that these import. The types need one core only.
.venv/.compiled: .venv/.ready
	@$(PYTEST) -q --collect-only > /dev/null 2>&1 || true  # what cannot be collected, the workers tell
	@touch $@

.PHONY: test-fab
test-fab: setup .venv-fab/.ready ## who sees what and may act with the FAB auth manager, in an environment of its own
	@.venv-fab/bin/python -m pytest -q tests/fab

lint: setup ## ruff with Airflow's rules, mypy strict on plugins/windrow, import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@PYTHONPATH=plugins:. .venv/bin/lint-imports --no-logo

messages: setup ## list all that users may read, errors, log lines and params, in build/messages.txt
	@$(AIRFLOW_PYTHON) docs/messages.py

format: setup ## let ruff format and mend what it can
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

# --- checks that download or take minutes ------------------------------------------------------

INCIDENTS := 100
RUNS := 20

.PHONY: chaos
chaos: setup ## kill, freeze and restart everything while all DAGs run: make chaos INCIDENTS=10 RUNS=2 SEED=7
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m chaos --incidents $(INCIDENTS) --runs $(RUNS) $(if $(SEED),--seed $(SEED))

MINUTES := 10
NAMES := 100000

.PHONY: chaos-load
chaos-load: setup ## 250 posts a second with kills, 200 requests in a minute, 100,000 names in Cloud Tasks: make chaos-load MINUTES=60
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m chaos.load --minutes $(MINUTES)
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.dispatch --names $(NAMES) --only "Cloud Tasks"

.PHONY: chaos-many
chaos-many: setup ## two schedulers, two users, a backfill, a clear, 50 tasks, shared credentials, all at once: 20 minutes
	@PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m chaos.many

RANGES_TESTS = $(shell grep -hoE '^(aiosmtpd|apache-airflow-providers-openlineage|check-jsonschema|hypothesis|pytest[a-z-]*|proxy\.py|ruff|trustme)==[^ ]+' requirements/dev.in requirements/openlineage.in)
define IMPORT_ALL
import importlib, pkgutil, windrow
for one in pkgutil.walk_packages(windrow.__path__, "windrow."):
    if not one.name.endswith("__main__"):
        importlib.import_module(one.name)
endef
export IMPORT_ALL

.PHONY: ranges
ranges: setup ## the lowest and the newest Airflow and providers of requirements/ranges.in: install, import, unit tests
	@trap 'rm -rf .venv-ranges' EXIT; \
	for versions in lowest-direct highest; do \
		$(UV) venv --quiet --clear --python .venv-uv/bin/python .venv-ranges; \
		$(UV) pip install --quiet --python .venv-ranges/bin/python --resolution $$versions \
			-r requirements/ranges.in $(RANGES_TESTS); \
		echo "$$versions: Airflow $$(.venv-ranges/bin/python -c 'from importlib.metadata import version; print(version("apache-airflow"))')"; \
		PYTHONPATH=plugins .venv-ranges/bin/python -c "$$IMPORT_ALL"; \
		.venv-ranges/bin/python -m pytest -q -p no:cacheprovider tests/unit tests/dags; \
	done

.PHONY: fresh deploy-check deploy-test
fresh: ## do what a new user does in a fresh clone of HEAD, then delete it; uncommitted changes are not in it
	@folder=$$(mktemp -d); \
	trap 'cd /; [ ! -d "$$folder/windrow" ] || make -C "$$folder/windrow" down >/dev/null || true; rm -rf "$$folder"' EXIT; \
	trap 'exit 130' INT TERM; \
	git clone --quiet . "$$folder/windrow"; \
	cd "$$folder/windrow"; \
	echo "checking a clone of $$(git log -1 --format='%h %s') in $$PWD, without uncommitted changes"; \
	unset MAKEFLAGS MAKELEVEL MFLAGS; \
	make setup PYTHON="$(PYTHON)"; make quick; make integrity; make test T=tests/repo/test_tutorial.py; \
	make ranges; make package; $(UV) tool run --isolated --constraints requirements/no-hashes.txt --from build/dist/*.whl windrow --version; \
	make demo; make down

deploy-check: setup .venv-deploy/.ready ## check deploy/ and the commands of the cloud pages by schemas, Helm, gcloud and moto
	@for part in commands kubernetes.check terraform.check; do \
		PYTHONPATH=. .venv-deploy/bin/python -m deploy.$$part || exit 1; done

deploy-test: ## build the image, start docker compose with passwords of its own, look, and delete it all again
	@deploy/test.sh
