"""Object stores of the clouds, in the few words that landing speaks."""

from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.sdk.exceptions import AirflowNotFoundException
from google.cloud.exceptions import NotFound

from windrow.errors import BadParameter, ConnectionUnusable
from windrow.hooks import no_connection
from windrow.landing import ObjectStore


class GcsStore:
    """A bucket of Google Cloud Storage."""

    def __init__(self, bucket: str, gcp_conn_id: str) -> None:
        self._hook = GCSHook(gcp_conn_id=gcp_conn_id)
        self._bucket = bucket

    def put(self, name: str, data: bytes) -> None:
        """Write an object whole, replacing what is there.

        :raises ConnectionUnusable: there is no such bucket.
        """
        try:
            self._hook.upload(self._bucket, name, data=data)
        except NotFound:
            raise self._no_bucket() from None

    def get(self, name: str) -> bytes | None:
        """Return an object's content, or None when there is none."""
        try:
            return self._hook.download_as_byte_array(self._bucket, name)
        except NotFound:
            return None

    def names(self, prefix: str) -> list[str]:
        """List the objects whose name begins so.

        :raises ConnectionUnusable: there is no such bucket.
        """
        try:
            return list(self._hook.list(self._bucket, prefix=prefix) or ())
        except NotFound:
            raise self._no_bucket() from None

    def delete(self, name: str) -> None:
        """Delete an object; one that is gone already is fine."""
        self._hook.delete(self._bucket, name, ignore_error=True)

    def _no_bucket(self) -> ConnectionUnusable:
        return ConnectionUnusable(
            f"There is no bucket {self._bucket!r}.",
            advice="Create it, or name another in the Airflow variable that the DAG lands to (docs/clouds.md).",
        )


def open_store(to: str, gcp_conn_id: str) -> ObjectStore:
    """Open the object store that an address like ``gs://bucket`` names.

    :raises BadParameter: the address names none.
    :raises ConnectionUnusable: there is no such Airflow connection.
    """
    scheme, _, bucket = to.partition("://")
    if scheme != "gs" or not bucket or "/" in bucket:
        raise BadParameter(f"{to!r} is no address of a bucket.", advice="It should look like gs://bucket.")
    try:
        return GcsStore(bucket, gcp_conn_id)
    except AirflowNotFoundException:
        raise no_connection(gcp_conn_id, "Google Cloud") from None
