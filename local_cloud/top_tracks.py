"""Deploy the Lambda function `top_tracks` on the local cloud, and ask it: `make lambda-ask ARTIST="Halden Pike"`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from local_cloud import aws_resources, cli
from local_cloud.apis.tokens import DEMO_CLIENT
from local_cloud.errors import LocalCloudError
from local_cloud.settings import Settings

NAME = "top_tracks"


def deploy(settings: Settings, archive: Path) -> Any:  # a client of Lambda, which boto3 makes at run time
    """Make the function, or bring it up to date; return the client to invoke it with.

    Raises LocalCloudError when there is no package.
    """
    if not archive.is_file():
        raise LocalCloudError(f"The file {archive} does not exist. Create it: `make lambda`.")
    api = aws_resources.client(settings, "lambda")
    variables = {
        "API_URL": f"{settings.api_url}/spotify/v1",
        "API_TOKEN_URL": f"{settings.api_url}/spotify/api/token",
        "API_CLIENT_ID": DEMO_CLIENT.client_id,
        "API_CLIENT_SECRET": DEMO_CLIENT.client_secret,
    }
    configuration = {"FunctionName": NAME, "Environment": {"Variables": variables}, "Timeout": 60, "MemorySize": 256}
    try:
        api.update_function_code(FunctionName=NAME, ZipFile=archive.read_bytes())
        api.update_function_configuration(**configuration)
    except api.exceptions.ResourceNotFoundException:
        api.create_function(
            **configuration,
            Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
            Handler="main.handle",
            Role="arn:aws:iam::000000000000:role/windrow-top-tracks",
            Code={"ZipFile": archive.read_bytes()},
        )
    return api


def ask(api: Any, event: object) -> Any:
    """Invoke the function; return what it returns. Raises LocalCloudError when it fails."""
    answer = api.invoke(FunctionName=NAME, Payload=json.dumps(event))
    payload = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise LocalCloudError(f"The function {NAME} failed: {json.dumps(payload)[:2000]}")
    return payload


def main() -> None:
    """Deploy, ask, and print the answer."""
    settings = Settings.load(cli.ROOT, os.environ)
    try:
        api = deploy(settings, cli.ROOT / "build" / f"{NAME}.zip")
        cli.say(json.dumps(ask(api, {"artist": " ".join(sys.argv[1:])}), indent=2, ensure_ascii=False))
    except LocalCloudError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
