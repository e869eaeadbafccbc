"""The Spotify Web API by its contract of November 2026: what each kind of client id may still ask, and quotas."""
