"""The storage of gcp-storage-emulator 2026.7.19, made durable and shareable.

What it changes, and why:
* the index of objects is written in the background and in one step; as it is, the whole index is rewritten
  on every request (17 uploads a second at 2,000 objects) and can be torn by a crash;
* files that are in the folder but not in the index are adopted: uploads survive kill -9, and what the
  BigQuery emulator exports into the shared folder is seen;
* an object `folder/` can live beside `folder/x`: its file has another name;
* an object appears when all of it is written, and until then the one before stays: also if the disk is full;
* a chunk of an upload may come again, as its client sends it after an error.
"""

import json
import mimetypes
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import RESUMABLE_DIR, Storage, _FileStore

Resource = dict[str, Any]
"""An object or bucket as the JSON API shows it."""

LOCK = threading.RLock()
"""Held by every request, and while the index is copied."""
FOLDER_MARKER = "__dir_marker__"
INDEXED = ("buckets", "objects", "resumable", "bucket_iam_policies", "soft_deleted")
FLUSH_SECONDS = 0.5


class WholeFiles(_FileStore):  # type: ignore[misc]
    """Files that are replaced in one step."""

    def write_bytes(self, rel: str, content: bytes) -> None:
        """Write a file beside all others, and put it in its place."""
        path: Path = self._disk_path(rel)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh: Path = self._disk_path(f"_new.{threading.get_ident()}")
        try:
            fresh.write_bytes(content)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


class DurableStorage(Storage):
    """A folder of files, and an index that can be made again from them."""

    def __init__(self, data_dir: Path, address: str) -> None:
        self._address = address  # download links begin with it
        self._modified: dict[tuple[str, str], int] = {}  # mtime_ns of each file when it was indexed
        self._changed = threading.Event()
        super().__init__(data_dir=str(data_dir))
        self._store = WholeFiles(use_memory=False, root=self._file(""))

    def reconcile(self) -> None:
        """Bring the index in line with the files: after a crash, or writes of another process."""
        for entry in self._file("").iterdir():
            if entry.is_dir() and not entry.name.startswith("_"):
                buckets.create_bucket(entry.name, self)  # leaves a known bucket as it is
        index = self._file(".meta")
        indexed_at = index.stat().st_mtime_ns if index.exists() else 0
        for bucket, known in self.objects.items():
            for name, resource in list(known.items()):
                found = self._stat(bucket, name)
                if found is None:
                    del known[name]
                elif found.st_mtime_ns > indexed_at or str(found.st_size) != resource["size"]:
                    self._adopt(bucket, name)
                else:
                    self._modified[bucket, name] = found.st_mtime_ns
                    self._move_here(resource)

    def flush_forever(self) -> None:
        """Write the index soon after it has changed, at most every FLUSH_SECONDS."""
        while True:
            self._changed.wait()
            try:
                self.flush()
            except OSError as error:  # disk full, for one: say so and try again
                print(f"cannot write the index of objects: {error}", flush=True)
                self._changed.set()
            time.sleep(FLUSH_SECONDS)

    def flush(self) -> None:
        """Write the index now; readers see the old or the new one, never a part."""
        with LOCK:
            self._changed.clear()
            text = json.dumps({name: getattr(self, name) for name in INDEXED})
            index = self._file(".meta")
            fresh = index.with_name(".meta.new")
            fresh.write_text(text)
            fresh.replace(index)

    def create_file(
        self, bucket_name: str, file_name: str, content: bytes, file_obj: Resource, file_id: str | None = None
    ) -> None:
        """Store an object and remember which state of the file was indexed."""
        super().create_file(bucket_name, file_name, content, file_obj, file_id)
        self._remember(bucket_name, file_name)

    def create_resumable_upload(self, bucket_name: str, file_name: str, file_obj: Resource) -> str:
        """Open an upload session, on disk before the client hears of it: it must survive a crash."""
        session: str = super().create_resumable_upload(bucket_name, file_name, file_obj)
        self.flush()
        return session

    def add_to_resumable_upload(
        self, file_id: str, content: bytes, total_size: int | None = None, expected_start: int | None = None
    ) -> bytes | None:
        """Append a chunk to an upload. One that comes again, as its answer was an error or was lost, replaces it."""
        if expected_start is not None and expected_start < self.get_resumable_byte_count(file_id):
            name = self.safe_id(file_id)
            before = self.get_file(RESUMABLE_DIR, name, False)[:expected_start]
            self._store.write_bytes(self._object_path(RESUMABLE_DIR, name), before)
        whole: bytes | None = super().add_to_resumable_upload(file_id, content, total_size, expected_start)
        return whole

    def get_file_obj(self, bucket_name: str, file_name: str) -> Resource:
        """Return an object's resource, after a look at its file. Raises the emulator's NotFound."""
        if self._is_news(bucket_name, file_name):
            self._adopt(bucket_name, file_name)
        found: Resource = super().get_file_obj(bucket_name, file_name)
        return found

    def _read_config_from_file(self) -> None:
        try:
            super()._read_config_from_file()
        except json.JSONDecodeError:  # written by an emulator without this class: start from the files
            for name in INDEXED:
                setattr(self, name, {})

    def _write_config_to_file(self) -> None:
        self._changed.set()

    def _object_path(self, bucket_name: str, file_name: str) -> str:
        marker = FOLDER_MARKER if file_name.endswith("/") else ""
        path: str = super()._object_path(bucket_name, file_name + marker)
        return path

    def _list_live_candidates(self, bucket_name: str, prefix: str | None = None) -> list[tuple[str, Resource]]:
        for name in self._names_on_disk(bucket_name, prefix or ""):
            if self._is_news(bucket_name, name):
                self._adopt(bucket_name, name)
        found: list[tuple[str, Resource]] = super()._list_live_candidates(bucket_name, prefix)
        return found

    def _move_here(self, resource: Resource) -> None:
        """Make the download link lead to this server: the port may be another one than in the last run."""
        link = urllib.parse.urlsplit(resource["mediaLink"])
        resource["mediaLink"] = f"{self._address}{link.path}?{link.query}"

    def _names_on_disk(self, bucket: str, prefix: str) -> Iterator[str]:
        root = self._file(bucket)
        for folder, _, files in os.walk(root / prefix.rpartition("/")[0]):
            for file in files:
                name = os.path.relpath(Path(folder, file), root)
                yield name.removesuffix(FOLDER_MARKER) if file == FOLDER_MARKER else name

    def _file(self, path: str) -> Path:
        file: Path = self._store._disk_path(path)
        return file

    def _stat(self, bucket: str, name: str) -> os.stat_result | None:
        try:
            return self._file(self._object_path(bucket, name)).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _remember(self, bucket: str, name: str) -> None:
        found = self._stat(bucket, name)
        if found is not None:
            self._modified[bucket, name] = found.st_mtime_ns

    def _is_news(self, bucket: str, name: str) -> bool:
        """Whether there is a file whose present state is not in the index."""
        if bucket not in self.buckets:
            return False
        found = self._stat(bucket, name)
        if found is None:
            return False
        known = name in self.objects.get(bucket, {})
        return not known or self._modified.get((bucket, name)) != found.st_mtime_ns

    def _adopt(self, bucket: str, name: str) -> None:
        file = self._file(self._object_path(bucket, name))
        content = file.read_bytes()
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        resource = objects._make_object_resource(self._address, bucket, name, kind, str(len(content)))
        self.objects.setdefault(bucket, {})[name] = objects._checksums(content, resource)
        self._remember(bucket, name)
        self._changed.set()
