"""What we patch or call from the inside in others' packages, and the source that we have looked at.

A patch of unknown source may do anything, such as let a test reach the real cloud. So each file has its hash here, and
another one is refused. To move to a new version: look at the patch, then put version and hash in here.

This module is in this folder as Airflow, which has only the folder on its path, needs it too.
"""

import dataclasses
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType


class UnknownSource(ImportError):
    """A file is not the one that our patch was written for; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One file of a package."""

    package: str
    version: str
    """The one in requirements; of several, for several versions of Python, joined by `or`."""
    patch: str
    """Our file that relies on it, below local_cloud."""
    sha256: tuple[str, ...]


def _of(package: str, version: str, patch: str, **hashes: str | tuple[str, ...]) -> dict[str, Source]:
    return {
        name.replace("__", "."): Source(package, version, patch, (known,) if isinstance(known, str) else known)
        for name, known in hashes.items()
    }


SOURCES: Mapping[str, Source] = {
    **_of(
        *("local-bigquery", "0.3.2", "emulators/bigquery_py311.py"),
        local_bigquery__catalog__metadata="32d3d98881a0ba7ff1392f333477d2443c72821782af8dbed1b193463d7a72af",
        local_bigquery__engine__results="3ad679e3066c522391542194985b0125735ecea942bdb5f5cdab5f7342339497",
    ),
    **_of(
        *("local-bigquery", "0.3.2", "emulators/bigquery_partitions.py"),
        local_bigquery__catalog__tables="918d84ae7fabd4831282b66acedd7557cdf75b3520502de921ff6fa9ba81d2fd",
        local_bigquery__catalog__tabledata="61759380bf5ea1f32381e7149da1c51037f06cbd884fff69c79c23daa4ced158",
    ),
    **_of(
        *("local-bigquery", "0.3.2", "emulators/bigquery_tables.py"),
        local_bigquery__catalog__row_access="21c55f3d88e8c4b6b79bd3d5da7b84b416f4550de66fc8ec38cbfe124f9d31ac",
        local_bigquery__engine__database="f92698ac202a8603f8953a2c896b8e5e56d9e9e31d19cc8e0fb75886f748b88c",
        local_bigquery__jobs__store="2b25f48ff159be0929dc375cf3f7db42da6f1b781d4494282e0d099de510af87",
        local_bigquery__sql__rules__partitions="bb20eee3bb7d44297bfd544655d0ad25df9b1ac35b0c2292fbf6a4f15f60df52",
    ),
    **_of(
        *("gcp-storage-emulator", "2026.7.19", "emulators/gcs_routes.py"),
        gcp_storage_emulator__server="b0227517548e0c34304b06029712351de277bd2a8bb1c7c45e71d0a27ec55837",
        gcp_storage_emulator__handlers__objects="e382f1715e55805a0b7459c1f9c8f21b8f38443da6c8d863ea6994bf1c1f4c4f",
    ),
    **_of(
        *("gcp-storage-emulator", "2026.7.19", "emulators/gcs_storage.py"),
        gcp_storage_emulator__storage="21f4aa37646d858be455ab865f03e94974139183df8bfbf464331057a685d23e",
        gcp_storage_emulator__handlers__buckets="ce160c2cffdc84937d868a80ea91bed8141b5c2eae9cd623db228cf9fcfec01f",
    ),
    **_of(
        *("functions-framework", "3.10.2", "emulators/function.py"),
        functions_framework___cli="3497d6adc06227356939ca777eac1d856d8e07ef6884d827dc8bb59b991630ea",
    ),
    **_of(
        *("nx-27017", "0.8.1", "emulators/mongo_logins.py"),
        nx_27017__server="80feb4b29103699bed7357ebd2398ff16886e360516298306b1d5bfc347662ed",
        nx_27017__handler="40cc8e43d9834abb25ae57dee5ec785e63d3bf14d9255af59195a0eabcf27ea5",
    ),
    **_of(
        *("neosqlite", "1.17.2", "emulators/mongo_writes.py"),
        neosqlite__collection__query_helper__crud_operations="0e4fbb1d4667a795cdd5905868274d89b440fe3f9dc9968a1acb1cd7e56045cd",
    ),
    **_of(
        *("ministack", "1.5.33", "emulators/ministack_durable.py"),
        ministack__app="2694306ee9187e1ae154685f0a357822da60863cf09a300f28b1fe315cd405b0",
        ministack__core__persistence="3cae1224c8d514c6d8db4c2e76abfa55442789fcc621c24cda85af7564e627f9",
        ministack__services__s3="1d7bcd484d865e6e2035801e8a279cbaa14286ee0db57ad73f3f25ab9321109e",
    ),
    **_of(
        *("ministack", "1.5.33", "emulators/ministack_children.py"),
        ministack__core__lambda_runtime="59c8f7a843819fb64e014a2f72624b8a2f6d9592f050b62971c41630f6e8b00d",
    ),
    **_of(
        *("gcloud-aio-bigquery", "7.2.0 or 7.3.0", "airflow_settings/google_clients.py"),
        gcloud__aio__bigquery__bigquery=(
            "e6b012469ad8aabb95790bee4b01ce629eed0c4c886e166c2e1bad895dfc36c1",  # 7.2.0, for Python below 3.11.3
            "2f872f4a3bcd5f61395e1888a7d5e3332c1d191db3e7774dcabd24ac29d8f7ce",
        ),
    ),
    **_of(
        *("apache-airflow-providers-google", "22.8.0", "airflow_settings/google_clients.py"),
        airflow__providers__google__cloud__hooks__bigquery="c9c1a1d81a929827bde3b5fe907ea45c710c28ae1afc6265b18f2af0e93ec520",
        airflow__providers__google__cloud__hooks__tasks="7de1acdb98fbf33d976cabad976d73aeebd05f466d841905592014f26c7276d4",
    ),
    **_of(
        *("google-cloud-bigquery", "3.47.0", "airflow_settings/google_clients.py"),
        google__cloud__bigquery__table="cb6265575620ad40ce325f671e6d57dd2fa50be8344cc757a9b455b8f0f118e7",
    ),
}
"""By the name of the module."""


def check(*modules: ModuleType) -> None:
    """Raise UnknownSource when the file of one of these modules is not the one that we know."""
    for module in modules:
        check_file(module.__name__, str(module.__file__))


def check_file(name: str, path: str) -> bytes:
    """Return the source of a module of this name. Raises UnknownSource when it is not the one that we know."""
    known, content = SOURCES[name], Path(path).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found not in known.sha256:
        try:
            installed = metadata.version(known.package)
        except metadata.PackageNotFoundError:
            installed = "not installed as a package"
        raise UnknownSource(
            f"{known.package}: local_cloud/{known.patch} was written for another {path}. The version that it is for is "
            f"{known.version}; installed: {installed}. `make setup` installs the right one. To use this one, check "
            f"the patch, then put sha256 {found} of {name} into local_cloud/airflow_settings/known_source.py.",
            name=name,
            path=path,
        )
    return content


def check_package(package: str) -> None:
    """Raise UnknownSource when a file of a package is not the one that we know. It imports nothing of the package."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for name in SOURCES:
            if name.startswith(f"{package}."):
                check_file(name, str(Path(folder, *name.split(".")[1:]).with_suffix(".py")))


class Refusal(importlib.abc.MetaPathFinder):
    """Lets nobody import a module that was refused: a hook runs once, and the second try would find no patch."""

    def __init__(self, name: str, reason: str) -> None:
        self._name, self._reason = name, reason

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Raise UnknownSource for the module; know no other."""
        if fullname == self._name:
            raise UnknownSource(self._reason, name=fullname)
        return None


def check_imported(module: ModuleType) -> None:
    """Check a module while it is imported; when it is refused, so is every later import of it."""
    try:
        check(module)
    except UnknownSource as error:
        sys.meta_path.insert(0, Refusal(module.__name__, str(error)))
        raise
