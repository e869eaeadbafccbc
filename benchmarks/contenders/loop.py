"""The loop that everybody writes first: one session, one call after the other, each answer written at once."""

import requests
from pymongo import MongoClient

from benchmarks.job import CREDENTIALS, PATH, TIMEOUT_S, TOKEN_PATH, Job


def run(job: Job) -> None:
    """Ask, write, ask the next."""
    collection = MongoClient(job.mongo_url)[job.database][job.collection]
    with requests.Session() as session:
        token = session.post(job.api_url + TOKEN_PATH, data=CREDENTIALS, timeout=TIMEOUT_S).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        for name in job.names():
            response = session.get(job.api_url + PATH, params={"name": name}, timeout=TIMEOUT_S)
            response.raise_for_status()
            collection.replace_one({"_id": name}, {"_id": name, **response.json()}, upsert=True)
