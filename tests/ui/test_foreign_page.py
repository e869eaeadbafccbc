"""A web page from elsewhere, open in a browser on the same machine, gets nothing from the local cloud."""

import asyncio
import base64
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator

import pytest
import requests

from local_cloud import aws_resources
from local_cloud.settings import PROJECT_ID, Settings
from tests.shared_cloud import SharedCloud
from tests.ui import browser

STEAL = """(async () => {
    const told = {};
    for (const url of %s) {
        try { told[url] = await (await fetch(url)).text(); } catch (error) { told[url] = error.name; }
    }
    return JSON.stringify(told);
})()"""
POST = """(async () => {
    for (const [url, body] of %s)
        await fetch(url, {method: 'POST', mode: 'no-cors', headers: {'Content-Type': 'text/plain'}, body});
    return 'sent';
})()"""


@pytest.fixture(scope="module")
def cloud(shared: SharedCloud) -> Settings:
    return shared.need("gcs", "bigquery", "aws", "athena", "apis", "cloud-tasks", "pubsub")


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A site of somebody else: another port is another origin."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Free kittens</title>")

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def run(site: str, script: str) -> str:
    """Return what a script says that runs in a page of a site."""

    async def visit() -> str:
        async with browser.page() as opened:
            await opened.call("Page.navigate", url=site)
            await opened.until("document.title === 'Free kittens'")
            found = await opened.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
            return str(found["result"]["value"])

    return asyncio.run(visit())


def test_no_page_of_a_test_finds_what_one_before_it_left(elsewhere: str) -> None:
    """All tests share one tab."""
    leave = "document.cookie = localStorage.left = sessionStorage.left = 'a=b'; console.error('left'); 'left'"
    find = "JSON.stringify([document.cookie, localStorage.left ?? '', sessionStorage.left ?? ''])"

    async def said() -> list[str]:
        async with browser.page() as opened:
            return opened.console

    assert run(elsewhere, leave) == "left"
    assert asyncio.run(said()) == []
    assert json.loads(run(elsewhere, find)) == [""] * 3


def test_it_reads_nothing(cloud: Settings, elsewhere: str) -> None:
    urls = [
        f"{cloud.gcs_url}/",
        f"{cloud.bigquery_url}/bigquery/v2/projects/{PROJECT_ID}/datasets",
        *(f"{cloud.aws_url}/_ministack/health", f"{cloud.athena_url}/health", f"{cloud.api_url}/_admin/health"),
        *(f"{cloud.cloud_tasks_url}/health", f"http://127.0.0.1:{cloud.pubsub_http_port}/health"),
    ]
    told = json.loads(run(elsewhere, STEAL % json.dumps(urls)))
    assert told == dict.fromkeys(urls, "TypeError"), "the browser lets no script see an answer"


def test_it_changes_nothing(cloud: Settings, elsewhere: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("m.py", "def f(event, context): ...")
    function = {
        "FunctionName": "from-elsewhere",
        "Runtime": "python3.11",
        "Handler": "m.f",
        "Role": "arn:aws:iam::000000000000:role/r",
        "Code": {"ZipFile": base64.b64encode(packed.getvalue()).decode()},
    }
    dataset = {"datasetReference": {"projectId": PROJECT_ID, "datasetId": "from_elsewhere"}}
    calls = [
        [f"{cloud.aws_url}/2015-03-31/functions", json.dumps(function)],
        [f"{cloud.bigquery_url}/bigquery/v2/projects/{PROJECT_ID}/datasets", json.dumps(dataset)],
        [f"{cloud.gcs_url}/storage/v1/b?project={PROJECT_ID}", json.dumps({"name": "from-elsewhere"})],
    ]
    assert run(elsewhere, POST % json.dumps(calls)) == "sent"

    functions = aws_resources.client(cloud, "lambda").list_functions()["Functions"]
    assert "from-elsewhere" not in {function["FunctionName"] for function in functions}
    for url, _ in calls[1:]:
        assert "elsewhere" not in requests.get(url, timeout=20).text
