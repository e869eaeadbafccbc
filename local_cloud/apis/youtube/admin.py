"""`/_admin/youtube`: how tests and people set the clock and the budgets, and see what was spent."""

from collections.abc import Iterable

from aiohttp import web

from local_cloud.apis.endpoint import json_response
from local_cloud.apis.tokens import TokenStore
from local_cloud.apis.youtube.quota import Quota
from local_cloud.apis.youtube.settings import BadSetting, Settings, SettingsSwitch


class YoutubeAdmin:
    """The admin routes of the fake YouTube. No fault touches them, and they cost no units."""

    def __init__(self, settings: SettingsSwitch, quota: Quota, tokens: TokenStore) -> None:
        self._settings = settings
        self._quota = quota
        self._tokens = tokens

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the routes for the router."""
        return [
            web.get("/_admin/youtube", self.show),
            web.put("/_admin/youtube", self.change),
            web.delete("/_admin/youtube", self.reset),
        ]

    async def show(self, _request: web.Request) -> web.Response:
        """Give all settings, the simulated instant, and the units of its Pacific day by bucket."""
        clock = {"clock": self._settings.now().isoformat()}
        return json_response({"settings": self._settings.current.as_json()} | clock | self._quota.report())

    async def change(self, request: web.Request) -> web.Response:
        """Change the settings the body names, and no others."""
        try:
            self._settings.current = self._settings.current.changed(await request.text())
        except BadSetting as bad:
            return json_response({"error": "bad_setting", "message": str(bad)}, 400)
        if not self._settings.current.consent:
            self._tokens.revoke_all()
        return await self.show(request)

    async def reset(self, request: web.Request) -> web.Response:
        """Put the defaults back, and all units."""
        self._settings.current = Settings()
        self._quota.reset()
        return await self.show(request)
