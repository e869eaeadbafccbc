"""deploy/kubernetes and deploy/x-publisher.yaml: what can be known of them without a cluster and without the chart."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from windrow import __version__
from windrow.sources.x.publisher.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
TERRAFORM = (ROOT / "deploy/terraform/google/main.tf").read_text(encoding="utf-8")
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def values(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")))


def test_the_image_is_that_of_compose_and_of_the_lock() -> None:
    chart = values("values.yaml")
    (airflow,) = re.findall(
        r"^apache-airflow==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
    image = f"{chart['defaultAirflowRepository']}:{chart['defaultAirflowTag']}"
    assert chart["airflowVersion"] == airflow
    assert chart["defaultAirflowTag"] == __version__
    assert image.rpartition("/")[2] == compose["services"]["airflow-scheduler"]["image"]
    assert image in (ROOT / "deploy/x-publisher.yaml").read_text(encoding="utf-8")
    assert f"windrow/windrow-airflow:{__version__}\n" in README


def test_settings_that_bound_a_dead_worker_are_those_of_compose() -> None:
    config = values("values.yaml")["config"]
    compose = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    for section in ("scheduler", "workers", "celery_broker_transport_options"):
        for option, value in config[section].items():
            assert f'AIRFLOW__{section.upper()}__{option.upper()}: "{value}"' in compose


def test_each_secret_that_is_used_is_made_with_its_keys() -> None:
    chart = values("values.yaml")
    made = dict(re.findall(r"create secret generic (\S+)((?:.*\\\n)*.*)", README))
    assert set(made) == {"airflow-broker", "airflow-keys", "airflow-metadata", "windrow-connections", "x-publisher"}
    for parameter, key in (("fernetKey", "fernet-key"), ("apiSecretKey", "api-secret-key"), ("jwt", "jwt-secret")):
        name = chart[f"{parameter}SecretName"]
        assert f"--from-literal={key}=" in made[name]
    assert "--from-literal=connection=" in made[chart["data"]["brokerUrlSecretName"]]
    assert "--from-literal=password=" in made[chart["redis"]["passwordSecretName"]]
    assert '--from-literal=connection="postgresql+psycopg2://' in made[chart["data"]["metadataSecretName"]]
    assert yaml.safe_load(chart["extraEnvFrom"])[0]["secretRef"]["name"] in made


def test_pods_act_as_the_accounts_that_terraform_binds() -> None:
    """The chart names the accounts of its Pods by the release, `airflow`, and their part."""
    chart = values("values.yaml")
    parts = {"api-server": "apiServer", "triggerer": "triggerer", "worker": "workers"}
    for part in parts.values():
        annotations = chart[part]["serviceAccount"]["annotations"]
        assert annotations == {"iam.gke.io/gcp-service-account": "windrow@my-project.iam.gserviceaccount.com"}
    assert f"toset({json.dumps([f'airflow-{name}' for name in sorted(parts)])})" in TERRAFORM
    account, deployment = yaml.safe_load_all((ROOT / "deploy/x-publisher.yaml").read_text(encoding="utf-8"))
    name = account["metadata"]["name"]
    assert name == deployment["spec"]["template"]["spec"]["serviceAccountName"]
    assert f"/{name}]" in TERRAFORM
    assert f'account_id   = "{name}"' in TERRAFORM


def test_the_publisher_does_not_make_what_its_account_may_not() -> None:
    assert "roles/pubsub.publisher" in TERRAFORM
    assert "roles/pubsub.editor" not in TERRAFORM
    _, deployment = yaml.safe_load_all((ROOT / "deploy/x-publisher.yaml").read_text(encoding="utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    settings = {one["name"]: one["value"] for one in container["env"]}
    secret = {"X_BEARER_TOKEN": "token", "MONGO_URL": "mongodb://"}
    assert Settings.read(settings | secret).subscription == ""


def test_the_image_has_what_the_chart_chooses() -> None:
    """The chart's auth manager is FAB, and its KubernetesExecutor is of a provider of its own."""
    lock = (ROOT / "requirements/kubernetes-nodeps.txt").read_text(encoding="utf-8")
    for provider in ("fab", "cncf-kubernetes"):
        assert f"apache-airflow-providers-{provider}==" in lock
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
    image = compose["services"]["airflow-scheduler"]["image"]
    assert f"ARG IMAGE={image}\n" in dockerfile
    assert "COPY requirements/kubernetes-nodeps.txt " in dockerfile
    order = [README.index(text) for text in (f"--tag {image} .", "--file deploy/kubernetes/Dockerfile", "docker push")]
    assert order == sorted(order)
    assert values("values.yaml")["createUserJob"] == {"enabled": False}  # it makes admin with the password admin


def test_git_sync_leaves_the_settings_of_the_first_file() -> None:
    """A list of a second file replaces the one of the first; git-sync 4 reads `ref`, which the chart sets elsewhere."""
    second = values("values-git-sync.yaml")
    assert set(map(str, values("values.yaml")["env"])) <= set(map(str, second["env"]))
    assert second["dags"]["gitSync"]["ref"] == "main"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("values-*.yaml")), ids=lambda path: path.stem)
def test_a_second_file_changes_only_what_it_is_for(path: Path) -> None:
    assert f"build/kubernetes/{path.name}" in README
    assert set(values(path.name)) <= {
        *("apiServer", "config", "dags", "env", "executor", "extraEnvFrom", "redis", "triggerer", "workers")
    }
