"""The ceiling: aiohttp with as many workers as connections, the answers parsed and dropped. No MongoDB."""

import asyncio

import aiohttp
import orjson

from benchmarks.job import CREDENTIALS, PATH, TIMEOUT_S, TOKEN_PATH, Job


def run(job: Job) -> None:
    """Fetch, parse, drop."""
    asyncio.run(_run(job))


async def _run(job: Job) -> None:
    names = job.names()
    async with aiohttp.ClientSession(
        job.api_url,
        connector=aiohttp.TCPConnector(limit=job.connections),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        raise_for_status=True,
    ) as session:
        async with session.post(TOKEN_PATH, data=CREDENTIALS) as response:
            headers = {"Authorization": f"Bearer {(await response.json())['access_token']}"}

        async def work() -> None:
            for name in names:
                async with session.get(PATH, params={"name": name}, headers=headers) as response:
                    orjson.loads(await response.read())

        await asyncio.gather(*(work() for _ in range(job.connections)))
