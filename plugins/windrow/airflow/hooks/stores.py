"""Object stores of Google Cloud and AWS, with the operations that landing needs."""

import contextlib
from typing import IO, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.sdk.exceptions import AirflowNotFoundException
from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.exceptions import ClientError
from google.cloud.exceptions import NotFound
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]

from windrow.airflow.hooks import no_connection
from windrow.landing.files import ObjectStore
from windrow.model.errors import BadParameter, ConnectionUnusable

GCS_CALL_S = 60.0
"""The longest silence of Google Cloud Storage within one attempt at a call."""
GCS_TRIED_S = 120.0
"""For so long no further attempt is put off."""
_PIECE = 16 * 1024 * 1024
"""Bytes of a file that are in memory at a time."""
_S3_TRANSFER = TransferConfig(multipart_threshold=_PIECE, multipart_chunksize=_PIECE, use_threads=False)


class GcsStore:
    """A bucket of Google Cloud Storage."""

    def __init__(self, bucket: str, gcp_conn_id: str) -> None:
        self._hook = GCSHook(gcp_conn_id=gcp_conn_id)
        self._bucket = bucket

    def put(self, name: str, data: bytes) -> None:
        """Write an object. It replaces an object of the same name.

        :raises ConnectionUnusable: the bucket does not exist.
        """
        try:
            self._blob(name).upload_from_string(data, content_type="application/octet-stream", **_gcs_limits())
        except NotFound:
            raise self._no_bucket() from None

    def put_file(self, name: str, file: IO[bytes]) -> None:
        """Write a file, from its beginning, as an object. It replaces an object of the same name.

        :raises ConnectionUnusable: the bucket does not exist.
        """
        blob = self._blob(name)
        blob.chunk_size = _PIECE
        try:
            blob.upload_from_file(file, rewind=True, content_type="application/octet-stream", **_gcs_limits())
        except NotFound:
            raise self._no_bucket() from None

    def get(self, name: str) -> bytes | None:
        """Return the content of an object, or None if it does not exist."""
        try:
            return bytes(self._blob(name).download_as_bytes(**_gcs_limits()))
        except NotFound:
            return None

    def get_file(self, name: str, file: IO[bytes]) -> bool:
        """Copy an object to a file. Return False if the object does not exist."""
        try:
            self._blob(name).download_to_file(file, **_gcs_limits())
        except NotFound:
            return False
        return True

    def names(self, prefix: str) -> list[str]:
        """List the objects whose name starts with ``prefix``.

        :raises ConnectionUnusable: the bucket does not exist.
        """
        try:
            found = self._hook.get_conn().list_blobs(self._bucket, prefix=prefix, **_gcs_limits())
            return [blob.name for blob in found]
        except NotFound:
            raise self._no_bucket() from None

    def delete(self, name: str) -> None:
        """Delete an object; it may already be deleted."""
        with contextlib.suppress(NotFound):
            self._blob(name).delete(**_gcs_limits())

    def _blob(self, name: str) -> Any:
        return self._hook.get_conn().bucket(self._bucket).blob(name)

    def _no_bucket(self) -> ConnectionUnusable:
        return _no_bucket(self._bucket)


def _gcs_limits() -> dict[str, Any]:
    return {"timeout": GCS_CALL_S, "retry": DEFAULT_RETRY.with_timeout(GCS_TRIED_S)}


class S3Store:
    """A bucket of Amazon S3."""

    def __init__(self, bucket: str, aws_conn_id: str) -> None:
        self._client = S3Hook(aws_conn_id=aws_conn_id).get_conn()
        self._bucket = bucket

    def put(self, name: str, data: bytes) -> None:
        """Write an object. It replaces an object of the same name.

        :raises ConnectionUnusable: the bucket does not exist.
        """
        try:
            self._client.put_object(Bucket=self._bucket, Key=name, Body=data)
        except ClientError as error:
            raise self._told(error) from error

    def put_file(self, name: str, file: IO[bytes]) -> None:
        """Write a file, from its beginning, as an object. It replaces an object of the same name.

        :raises ConnectionUnusable: the bucket does not exist.
        """
        file.seek(0)
        try:
            self._client.upload_fileobj(file, self._bucket, name, Config=_S3_TRANSFER)
        except ClientError as error:
            raise self._told(error) from error

    def get(self, name: str) -> bytes | None:
        """Return the content of an object, or None if it does not exist."""
        try:
            return bytes(self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read())
        except ClientError as error:
            if _code(error) == "NoSuchKey":
                return None
            raise self._told(error) from error

    def get_file(self, name: str, file: IO[bytes]) -> bool:
        """Copy an object to a file. Return False if the object does not exist."""
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=name)["Body"]
        except ClientError as error:
            if _code(error) == "NoSuchKey":
                return False
            raise self._told(error) from error
        for piece in body.iter_chunks(_PIECE):
            file.write(piece)
        return True

    def names(self, prefix: str) -> list[str]:
        """List the objects whose name starts with ``prefix``.

        :raises ConnectionUnusable: the bucket does not exist.
        """
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        try:
            return [one["Key"] for page in pages for one in page.get("Contents", ())]
        except ClientError as error:
            raise self._told(error) from error

    def delete(self, name: str) -> None:
        """Delete an object; it may already be deleted."""
        try:
            self._client.delete_object(Bucket=self._bucket, Key=name)
        except ClientError as error:
            raise self._told(error) from error

    def _told(self, error: ClientError) -> Exception:
        return _no_bucket(self._bucket) if _code(error) == "NoSuchBucket" else error


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _no_bucket(bucket: str) -> ConnectionUnusable:
    return ConnectionUnusable(
        f"The bucket {bucket!r} does not exist.",
        advice="Create it, or set another bucket in the Airflow variable of this DAG (docs/clouds.md).",
    )


def open_store(to: str, gcp_conn_id: str, aws_conn_id: str = "aws_default") -> ObjectStore:
    """Open the object store of a URL like ``gs://bucket`` or ``s3://bucket``.

    :raises BadParameter: the URL is invalid.
    :raises ConnectionUnusable: the Airflow connection does not exist.
    """
    scheme, _, bucket = to.partition("://")
    if scheme not in {"gs", "s3"} or not bucket or "/" in bucket:
        raise BadParameter(f"{to!r} is not the URL of a bucket.", advice="Use a URL like gs://bucket or s3://bucket.")
    if scheme == "s3":
        return S3Store(bucket, aws_conn_id)
    try:
        return GcsStore(bucket, gcp_conn_id)
    except AirflowNotFoundException:
        raise no_connection(gcp_conn_id, "Google Cloud") from None
