"""Check deploy/terraform, for `make deploy-check`: each resource against schemas of the providers, then by Terraform.

The schemas are those that the packages `cdktf-cdktf-provider-aws` and `-google` carry, as signatures of Python classes.
These are read and not imported. Where the program `terraform` is installed, it checks the format, validates each module
whose provider can be had, and applies the one of AWS to moto: on_moto.py beside this file. The check says what it left
out.
"""

import ast
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hcl2

from deploy.terraform import on_moto

FOLDER = Path(__file__).parent
META = {"count", "depends_on", "for_each", "lifecycle", "provider", "provisioner", "connection"}
"""Arguments that Terraform itself reads in every resource."""

Classes = dict[str, dict[str, tuple[bool, str]]]
"""Arguments by class; of each, whether it is required, and the class of its block, or an empty text."""


@cache
def classes(provider: str, kind: str) -> Classes:
    """Return the signatures of a resource's module, the resource itself first."""
    spec = find_spec(f"cdktf_cdktf_provider_{provider}")
    path = Path(spec.submodule_search_locations[0]) / kind / "__init__.py" if spec else Path()
    if not path.is_file():
        return {}
    found: Classes = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                pairs = zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True)
                found[node.name] = {
                    argument.arg: (default is None, _block(argument.annotation)) for argument, default in pairs
                }
    return found


def _block(annotation: ast.expr | None) -> str:
    """Return the class of a nested block, which an annotation names as text."""
    names = [node.value for node in ast.walk(annotation or ast.Constant(0)) if isinstance(node, ast.Constant)]
    return next((str(name) for name in names if isinstance(name, str)), "")


def faults(known: Classes, name: str, given: dict[str, Any], where: str) -> Iterator[str]:
    """Say what a block has that its class does not know, and what it lacks."""
    signature = known[name]
    blocks: dict[str, list[dict[str, Any]]] = {}
    for argument, value in given.items():
        if argument == "dynamic":
            for one in value:
                for block, content in one.items():
                    blocks.setdefault(block.strip('"'), []).extend(content["content"])
        elif (
            isinstance(value, list) and value and all(isinstance(one, dict) and "__is_block__" in one for one in value)
        ):
            blocks.setdefault(argument, []).extend(value)
    plain = {argument for argument in given if not argument.startswith("__")} - {"dynamic"} - META
    names = {argument.rstrip("_") for argument in signature}
    for argument in sorted((plain | set(blocks)) - names - META):
        yield f"{where}: there is no argument {argument!r}"
    for argument, (required, _) in signature.items():
        if required and argument not in plain | set(blocks):
            yield f"{where}: the required argument {argument!r} is missing"
    for argument, content in blocks.items():
        if block := signature.get(argument, (False, ""))[1]:
            for one in content:
                yield from faults(known, block, one, f"{where}.{argument}")


def check(path: Path) -> Iterator[str]:
    """Say what is wrong in a file."""
    with path.open(encoding="utf-8") as file:
        content = hcl2.load(file)
    for section in ("resource", "data"):
        for found in content.get(section, []):
            for kind, named in found.items():
                provider, _, short = kind.strip('"').partition("_")
                module = short if section == "resource" else f"data_{provider}_{short}"
                known, main = classes(provider, module), module.replace("_", "")
                for name, given in named.items():
                    where = f"{path.relative_to(FOLDER)}: {kind}.{name}".replace('"', "")
                    if not known:
                        yield f"{where}: the provider has no such {section}"
                    else:
                        yield from faults(known, next(one for one in known if one.lower() == main), given, where)


def by_terraform(folder: Path) -> Iterator[str]:
    """Let Terraform say what is wrong in a copy of deploy/, and print what it did not check."""
    if not shutil.which("terraform"):
        print("not validated and not applied to moto: terraform is not installed")
        yield from on_moto.compare(None)
        return
    ready, copy = [], on_moto.copied(folder)
    try:
        on_moto.terraform(copy, "fmt", "-check", "-recursive", "-diff")
    except RuntimeError as error:
        yield str(error)
    for module in ("aws", "google"):
        try:
            on_moto.terraform(copy / module, "init", "-backend=false", "-input=false")
        except RuntimeError as error:
            print(f"not validated: {module}, as its provider cannot be had: {str(error)[-300:]}")
            continue
        try:
            on_moto.terraform(copy / module, "validate")
            print(f"terraform validated {module}")
            ready.append(module)
        except RuntimeError as error:
            yield f"{module}: {error}"
    yield from on_moto.compare(folder if "aws" in ready else None)


if __name__ == "__main__":
    found = [fault for path in sorted(FOLDER.glob("*/*.tf")) for fault in check(path)]
    with TemporaryDirectory() as temporary:
        found += by_terraform(Path(temporary))
    sys.exit("\n".join(found) if found else 0)
