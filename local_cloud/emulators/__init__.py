"""Launchers of the emulators. They run in .venv-cloud, one process each; nothing else imports them."""
