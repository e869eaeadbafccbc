"""Launchers of the emulators. They run in .venv-cloud, those of AWS in .venv-aws, one process
each; nothing else imports them."""
