"""deploy/kubernetes and deploy/x-publisher.yaml: what can be known of them without a cluster and without the chart."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from windrow import __version__

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
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
    assert f"$IMAGE:{__version__} ." in README


def test_settings_that_bound_a_dead_worker_are_those_of_compose() -> None:
    config = values("values.yaml")["config"]
    compose = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    for section in ("scheduler", "workers", "celery_broker_transport_options"):
        for option, value in config[section].items():
            assert f'AIRFLOW__{section.upper()}__{option.upper()}: "{value}"' in compose


def test_each_secret_that_is_used_is_made_with_its_keys() -> None:
    chart = values("values.yaml")
    made = dict(re.findall(r"create secret generic (\S+)((?:.*\\\n)*.*)", README))
    assert set(made) == {"airflow-keys", "airflow-metadata", "windrow-connections", "x-publisher"}
    for parameter, key in (("fernetKey", "fernet-key"), ("apiSecretKey", "api-secret-key"), ("jwt", "jwt-secret")):
        name = chart[f"{parameter}SecretName"]
        assert f"--from-literal={key}=" in made[name]
    assert "--from-file=connection=" in made[chart["data"]["metadataSecretName"]]
    assert yaml.safe_load(chart["extraEnvFrom"])[0]["secretRef"]["name"] in made


def test_pods_act_as_the_accounts_that_terraform_binds() -> None:
    """The chart names the accounts of its Pods by the release, `airflow`, and their part."""
    terraform = (ROOT / "deploy/terraform/google/main.tf").read_text(encoding="utf-8")
    chart = values("values.yaml")
    annotated = {
        part: chart[part]["serviceAccount"]["annotations"]["iam.gke.io/gcp-service-account"]
        for part in ("triggerer", "workers")
    }
    assert set(annotated.values()) == {"windrow@my-project.iam.gserviceaccount.com"}
    assert 'toset(["airflow-worker", "airflow-triggerer"])' in terraform
    account, deployment = yaml.safe_load_all((ROOT / "deploy/x-publisher.yaml").read_text(encoding="utf-8"))
    name = account["metadata"]["name"]
    assert name == deployment["spec"]["template"]["spec"]["serviceAccountName"]
    assert f"/{name}]" in terraform
    assert f'account_id   = "{name}"' in terraform


@pytest.mark.parametrize("name", ["values-kubernetes-executor.yaml", "values-git-sync.yaml"])
def test_a_second_file_changes_only_what_it_is_for(name: str) -> None:
    assert name in README
    assert set(values(name)) <= {"executor", "redis", "workers", "config", "dags", "env"}
