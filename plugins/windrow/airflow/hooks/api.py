"""Make a client of an API from an Airflow connection of type ``http`` or ``windrow``; see `windrow.connect.api`."""

from dataclasses import dataclass

from airflow.sdk import BaseHook
from airflow.sdk.crypto import get_fernet
from airflow.sdk.definitions.connection import Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from cryptography.fernet import InvalidToken

from windrow.airflow.hooks import no_connection, unusable
from windrow.connect.api import Api
from windrow.http.consent import Seal
from windrow.http.sigv4 import Credentials


class AirflowPlatform:
    """Airflow's Fernet key and AWS connections."""

    def seal(self, conn_id: str) -> Seal | None:
        """Return the Fernet key of Airflow; None if it is missing or invalid."""
        try:
            return _Fernet(conn_id) if get_fernet().is_encrypted else None
        except AirflowException:  # an invalid key, or the template of one
            return None

    def aws_credentials(self, conn_id: str, region: str) -> Credentials | None:
        """Return the credentials of an Airflow connection of type aws."""
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # noqa: PLC0415 - takes seconds

        found: Credentials | None = AwsBaseHook(conn_id).get_session(region_name=region).get_credentials()
        return found


class ApiHook(BaseHook, Api):
    """Makes clients for the API of an Airflow connection."""

    conn_name_attr = "conn_id"
    conn_type = "windrow"
    hook_name = "Windrow API"
    platform = AirflowPlatform()

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    def connection(self) -> Connection:
        """Return the Airflow connection.

        :raises ConnectionUnusable: it does not exist.
        """
        try:
            return self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            raise no_connection(self.conn_id, "HTTP") from None


@dataclass(frozen=True, slots=True)
class _Fernet:
    """Encrypts with the Fernet key of Airflow. Old keys of the list decrypt, as they do for connections."""

    conn_id: str

    def seal(self, text: str) -> str:
        return get_fernet().encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        try:
            return get_fernet().decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise unusable(
                self.conn_id,
                "has a refresh token in MongoDB that Airflow's Fernet key does not decrypt",
                "Add the earlier key to AIRFLOW__CORE__FERNET_KEY (new,old), or give consent again and set the new "
                "refresh_token.",
            ) from None
