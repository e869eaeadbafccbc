"""Check each Kubernetes object of deploy/ with the schemas of versions that GKE offers, for `make deploy-check`."""

import sys
from pathlib import Path

import kubernetes_validate
import yaml

VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36")
FILES = (Path(__file__).parents[1] / "x-publisher.yaml",)

if __name__ == "__main__":
    faults = []
    for path in FILES:
        for thing in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(thing, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    faults.append(f"{path.name}: {thing['kind']} in {version}: {error.message}")
    sys.exit("\n".join(faults) if faults else 0)
