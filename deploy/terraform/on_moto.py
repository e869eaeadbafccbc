"""Create everything in moto, which imitates AWS: by the commands of the pages, then by Terraform, and compare both.

moto checks more than a parser: names, policies, which things exist. It does not check rights.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import boto3

from deploy import commands

ROOT = Path(__file__).parents[2]
PAGES = ("docs/clouds.md", "include/functions/top_tracks/README.md")
REGION = "eu-central-1"
"""That of the pages and of the module."""
VARIABLES = {
    "bucket": "my-bucket",
    "airflow_principals": '["arn:aws:iam::123456789012:user/airflow"]',
    "function": "true",
}
# moto lists the tags of a workgroup only if it has some.
OVERRIDE = """
provider "aws" {
  access_key                  = "moto"
  secret_key                  = "moto"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}
resource "aws_athena_workgroup" "windrow" {
  tags = { on = "moto" }
}
"""
ROLES = ("windrow", "AWSGlueServiceRole-windrow", "windrow-top-tracks")
ATTRIBUTES = ("MessageRetentionPeriod", "RedrivePolicy", "SqsManagedSseEnabled", "VisibilityTimeout")


@contextmanager
def moto() -> Iterator[dict[str, str]]:
    """Start moto and yield the environment in which clients find it."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  it reads the variable when it is imported

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        found = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_CONFIG_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            "NO_PROXY": "127.0.0.1",
        }
        yield found | {"AWS_ACCESS_KEY_ID": "moto", "AWS_SECRET_ACCESS_KEY": "moto", "AWS_PAGER": ""}
    finally:
        server.stop()


def forget(environ: dict[str, str]) -> None:
    """Delete everything in moto."""
    with urlopen(Request(f"{environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")):  # noqa: S310 - of this machine
        pass


def state(environ: dict[str, str]) -> dict[str, Any]:
    """Return what was created, as far as both ways have to agree."""
    session = boto3.Session("moto", "moto", region_name=REGION)

    def client(name: str) -> Any:  # boto3 makes clients at run time
        return session.client(name, endpoint_url=environ["AWS_ENDPOINT_URL"])

    s3, iam, sqs, dynamodb, functions = map(client, ("s3", "iam", "sqs", "dynamodb", "lambda"))
    bucket = VARIABLES["bucket"]
    found: dict[str, Any] = {
        "location": s3.get_bucket_location(Bucket=bucket)["LocationConstraint"],
        "public access": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
        "lifecycle": s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
    }
    workgroup = client("athena").get_work_group(WorkGroup="windrow")["WorkGroup"]["Configuration"]
    found["workgroup"] = [workgroup[key] for key in ("EnforceWorkGroupConfiguration", "BytesScannedCutoffPerQuery")]
    for name in dynamodb.list_tables()["TableNames"]:
        table = dynamodb.describe_table(TableName=name)["Table"]
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        found[f"table {name}"] = [
            table["KeySchema"],
            table["AttributeDefinitions"],
            table["BillingModeSummary"]["BillingMode"],
            backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
        ]
    for url in sqs.list_queues()["QueueUrls"]:
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        kept = {name: told[name] for name in ATTRIBUTES if name in told}
        if "RedrivePolicy" in kept:
            kept["RedrivePolicy"] = json.loads(kept["RedrivePolicy"])
        found[f"queue {url.rpartition('/')[2]}"] = kept
    for role in ROLES:
        policies = iam.list_role_policies(RoleName=role)["PolicyNames"]
        found[f"role {role}"] = {
            "trust": iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"],
            "attached": iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"],
            **{name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in policies},
        }
    function = functions.get_function(FunctionName="top_tracks")["Configuration"]
    found["function"] = [function[key] for key in ("Runtime", "Handler", "Role", "Timeout", "MemorySize")]
    (mapping,) = functions.list_event_source_mappings(FunctionName="top_tracks")["EventSourceMappings"]
    found["requests to the function"] = [mapping["EventSourceArn"], mapping["FunctionResponseTypes"]]
    return found


def by_commands(environ: dict[str, str]) -> dict[str, Any]:
    """Run the commands of the pages and return what they created."""
    with TemporaryDirectory() as temporary, TemporaryDirectory() as programs:
        # Version 1 of the command line has an address of its own for SQS, before that of the variable.
        aws = Path(programs, "aws")
        program = Path(sys.executable).parent / "aws"
        aws.write_text(f'exec {program} --endpoint-url "$AWS_ENDPOINT_URL" "$@"\n', encoding="utf-8")
        aws.chmod(0o755)
        environ = environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        folder = Path(temporary)
        zipped(folder)
        replaced = [name for name in commands.REPLACED if name != "aws"]
        for page in PAGES:
            commands.run(page, folder=folder, replaced=replaced, environ=environ)
    return state(environ)


def by_terraform(folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    """Apply the module of a copy of deploy/, which is initialized, and return what it created.

    :raises RuntimeError: Terraform failed; with what it said.
    """
    module = folder / "deploy/terraform/aws"
    zipped(folder)
    (module / "moto_override.tf").write_text(OVERRIDE, encoding="utf-8")
    given = [f"-var={name}={value}" for name, value in VARIABLES.items()]
    terraform(module, "apply", "-auto-approve", "-input=false", *given, environ=environ)
    return state(environ)


def terraform(module: Path, *words: str, environ: dict[str, str] | None = None) -> None:
    """Run Terraform in a folder.

    :raises RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(
        ["terraform", words[0], "-no-color", *words[1:]],
        cwd=module,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"terraform {words[0]}: {done.stdout.strip()[-1500:]}")


def zipped(folder: Path) -> None:
    """Write a function that does nothing where `make lambda` writes the real one."""
    (folder / "build").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "build/top_tracks.zip", "w") as packed:
        packed.writestr("main.py", "def handle(event, context): ...\n")


def compare(folder: Path | None) -> Iterator[str]:
    """Run both ways and say in what they differ.

    :param folder: a copy of deploy/ in which Terraform is initialized, or None to run the commands only.
    """
    with moto() as environ:
        commanded = by_commands(environ)
        print(f"moto: the commands of {len(PAGES)} pages ran, and created {len(commanded)} things")
        if folder is None:
            return
        forget(environ)
        applied = by_terraform(folder, environ)
        print(f"moto: terraform created {len(applied)} things")
    for name in sorted(commanded.keys() | applied.keys()):
        if commanded.get(name) != applied.get(name):
            yield f"{name}: by commands {commanded.get(name)}, by Terraform {applied.get(name)}"


def copied(folder: Path) -> Path:
    """Copy deploy/ below a folder and return the copy of deploy/terraform."""
    unwanted = shutil.ignore_patterns(".terraform*", "terraform.tfstate*", "__pycache__")
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=unwanted)
    return folder / "deploy/terraform"
