"""What can go wrong while running the local cloud.

LocalCloudError
├── SettingsError   a WINDROW_* value is no good
├── FolderError     the data folder is not ours to use or delete, or its disk is full
├── PortTaken       somebody else listens where a service should
└── ServiceFailed   a service did not start, or stopped while starting
"""


class LocalCloudError(Exception):
    """Base: the message is written for the person at the terminal, and holds no secrets."""


class SettingsError(LocalCloudError):
    """A setting has a value that cannot be used; names the variable and where it came from."""


class FolderError(LocalCloudError):
    """The data folder holds things that the local cloud did not write, or its disk is full."""


class PortTaken(LocalCloudError):
    """A port that a service needs is in use; names the service, the port, the variable and the holder."""


class ServiceFailed(LocalCloudError):
    """A service is not healthy; names the service and its log file, and shows the end of the log."""
