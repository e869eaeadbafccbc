"""The analyst's loop, kept alive: one call after the other, a new token on 401, and at once again on all else."""

import requests
from pymongo import MongoClient

from benchmarks.youtube.job import DATASET, PATH, TIMEOUT_S, TOKEN_PATH, Job, Report, name, params


def run(job: Job) -> None:
    """Ask, write, ask the next."""
    collection = MongoClient(job.mongo_url)[job.database][DATASET]
    with requests.Session() as session:
        _sign(session, job)
        for report in job.reports():
            document = {"_id": name(report), **_asked(session, job, report)}
            collection.replace_one({"_id": document["_id"]}, document, upsert=True)


def _asked(session: requests.Session, job: Job, report: Report) -> dict[str, object]:
    while True:
        try:
            response = session.get(job.api_url + PATH, params=params(report), timeout=TIMEOUT_S)
        except requests.RequestException:
            continue
        if response.ok:
            answer: dict[str, object] = response.json()
            return answer
        if response.status_code == requests.codes.unauthorized:
            _sign(session, job)


def _sign(session: requests.Session, job: Job) -> None:
    """Get a token, outside of the session: its dead token is no way to sign in."""
    token = requests.post(job.api_url + TOKEN_PATH, data=job.grant, timeout=TIMEOUT_S).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
