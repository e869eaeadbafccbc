"""What the routes of the Harvest pages take: the user, and texts of bounded length."""

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, Query

LONGEST = 2_000
"""Characters of a parameter."""
User = Annotated[BaseUser, Depends(get_user)]
Text = Annotated[str, Query(max_length=LONGEST)]
