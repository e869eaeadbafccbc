"""deploy/x-publisher.yaml: what can be known of it without a cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from windrow.model.errors import Misconfigured
from windrow.sources.x.publisher.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pod() -> dict[str, Any]:
    _, deployment = yaml.safe_load_all((ROOT / "deploy/x-publisher.yaml").read_text(encoding="utf-8"))
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"}), "two streams of one app are refused"
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    return dict(spec["template"]["spec"])


def test_its_environment_and_secret_are_settings_of_the_publisher(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    plain = {one["name"]: one["value"] for one in container["env"]}

    settings = Settings.read(plain | {"X_BEARER_TOKEN": "t", "MONGO_URL": "mongodb://m"})

    assert settings.rules == {"cars": "tesla -is:retweet"}
    with pytest.raises(Misconfigured, match="X_BEARER_TOKEN, MONGO_URL"):  # these come out of the secret
        Settings.read(plain)


def test_it_runs_the_image_and_the_program_of_compose(pod: dict[str, Any]) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]["x-publisher"]
    (container,) = pod["containers"]

    assert " ".join(container["command"]) in compose["command"][-1]
    assert container["image"].rpartition("/")[2] == compose["image"]
    assert container["env"][0] == {"name": "PYTHONPATH", "value": compose["environment"]["PYTHONPATH"]}
    assert container["command"][-1] in container["livenessProbe"]["exec"]["command"][-1]


def test_it_may_write_only_where_it_has_to(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]

    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]  # noqa: S108
    assert pod["securityContext"]["runAsNonRoot"]
