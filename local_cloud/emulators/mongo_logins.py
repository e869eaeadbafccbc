"""Logins for nx-27017, which has none: SCRAM-SHA-256 of RFC 5802 and RFC 7677, as the drivers of MongoDB speak it.

A connection without a login may greet the server and log in, nothing else. A user may use one database, or all.
Users are in `users.json` beside the databases, without their passwords.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Any

from nx_27017.handler import NeoSQLiteHandler

from local_cloud.emulators import mongo_writes

Document = dict[str, Any]

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 4096
"""The fewest that drivers accept. Each process computes them once; a further connection of it costs microseconds."""
_GREETINGS = ("hello", "isMaster", "ismaster")
_OPEN = {*_GREETINGS, "Hello", "ping", "buildInfo", "buildinfo", "endSessions"}
_FAILED: Document = {"ok": 0, "errmsg": "Authentication failed.", "code": 18, "codeName": "AuthenticationFailed"}


class Users:
    """The users of a server, by database and name, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}

    def find(self, database: str, name: str) -> dict[str, str] | None:
        """Return the keys of a user, in Base64, and the `only` database that they may use; None for an unknown one."""
        return self._users.get(f"{database}.{name}")

    def put(self, database: str, name: str, password: str, only: str = "") -> None:
        """Add or replace a user, who may use one database; empty: all."""
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
        stored = hashlib.sha256(_sign(salted, "Client Key")).digest()
        keys = {"salt": salt, "stored": stored, "server": _sign(salted, "Server Key")}
        self._users[f"{database}.{name}"] = {key: _text(value) for key, value in keys.items()} | {"only": only}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._users))
        new.replace(self._path)


class LoginHandler(NeoSQLiteHandler):
    """The commands of nx-27017, for connections of `users`. `mongo_writes` writes whole documents in its place."""

    def __init__(self, users: Users, data_dir: str) -> None:
        super().__init__(data_dir=data_dir)
        self._users = users
        self._talks: dict[str, tuple[dict[str, str], str, str]] = {}
        """By connection: the user who logs in, what both sides have said, and the nonce."""
        self._logins: dict[str, dict[str, str]] = {}

    def handle_insert(self, msg: Document) -> tuple[int, Document]:
        """Insert documents."""
        refusal = self._refusal(msg["_conn_id"], _body(msg))
        return (msg["request_id"], refusal) if refusal else super().handle_insert(msg)

    def handle_command(self, msg: Document) -> tuple[int, Document]:
        """Log in, manage users, or run a command."""
        command, connection = _body(msg), msg["_conn_id"]
        name = next(iter(command), "")
        if name == "saslStart":
            return msg["request_id"], self._begin(connection, command)
        if name == "saslContinue":
            return msg["request_id"], self._prove(connection, command)
        refusal = self._refusal(connection, command)
        if refusal:
            return msg["request_id"], refusal
        if name in {"createUser", "updateUser"}:
            (role,) = command["roles"]
            self._users.put(command["$db"], command[name], command["pwd"], role["db"])
            return msg["request_id"], {"ok": 1}
        if name == "update" and (written := self._replace(msg, command)):
            return msg["request_id"], written
        request_id, answer = super().handle_command(msg)
        if name in _GREETINGS:
            answer["saslSupportedMechs"] = [MECHANISM]
            if speculation := command.get("speculativeAuthenticate"):
                begun = self._begin(connection, {"$db": speculation["db"], **speculation})
                answer |= {"speculativeAuthenticate": begun} if begun["ok"] else {}
        return request_id, answer

    def handle_query(self, msg: Document) -> tuple[int, list[Document]]:
        """Run a command of the old form, with which drivers greet."""
        if msg["collection"] != "$cmd":
            return msg["request_id"], [{"$err": "Unsupported OP_QUERY command: find", "code": 352, "ok": 0}]
        return super().handle_query(msg)

    def close_streams_for_connection(self, conn_id: str) -> None:
        """Forget a connection."""
        self._talks.pop(conn_id, None)
        self._logins.pop(conn_id, None)
        super().close_streams_for_connection(conn_id)

    def _replace(self, msg: Document, command: Document) -> Document | None:
        """Return the answer to an `update` command; None if nx-27017 has to run it."""
        name, collection = command["$db"], command["update"]
        if "txnNumber" in command or self._is_gridfs_collection(collection):
            return None
        sequences = (section for kind, section in msg["sections"] if kind == "payload")
        updates = command.get("updates") or next((one["updates"] for one in sequences if "updates" in one), [])
        with self._lock_for(name):
            database = self.get_database(name)
            self._apply_write_concern(database, name, command.get("writeConcern"))
            return mongo_writes.replace(database, collection, updates)

    def _refusal(self, connection: str, command: Document) -> Document | None:
        name, database = next(iter(command), ""), command.get("$db", "test")
        if name in _OPEN:
            return None
        user = self._logins.get(connection)
        if user is None:
            why = f"Command {name} requires authentication"
        elif user["only"] not in {"", database}:
            why = f"not authorized on {database} to execute command {name}"
        else:
            return None
        return {"ok": 0, "errmsg": why, "code": 13, "codeName": "Unauthorized"}

    def _begin(self, connection: str, command: Document) -> Document:
        try:
            # n,,n=user,r=nonce: no channel binding, no other identity
            _, _, bare = bytes(command["payload"]).decode().split(",", 2)
            name, nonce = (part[2:] for part in bare.split(","))
        except ValueError:
            return _FAILED
        user = self._users.find(command["$db"], name)
        if user is None or command.get("mechanism") != MECHANISM:
            return _FAILED
        nonce += secrets.token_urlsafe(18)
        first = f"r={nonce},s={user['salt']},i={ITERATIONS}"
        self._talks[connection] = user, f"{bare},{first}", nonce
        return {"ok": 1, "conversationId": 1, "done": False, "payload": first.encode()}

    def _prove(self, connection: str, command: Document) -> Document:
        try:
            user, said, nonce = self._talks.pop(connection)
            final, proof = bytes(command["payload"]).decode().split(",p=")
            given = base64.b64decode(proof)
        except (KeyError, ValueError):
            return _FAILED
        stored, server = (base64.b64decode(user[key]) for key in ("stored", "server"))
        mask = _sign(stored, f"{said},{final}")
        key = bytes(one ^ other for one, other in zip(given, mask, strict=False))
        if final != f"c=biws,r={nonce}" or not hmac.compare_digest(hashlib.sha256(key).digest(), stored):
            return _FAILED
        self._logins[connection] = user
        verified = f"v={_text(_sign(server, f'{said},{final}'))}"
        return {"ok": 1, "conversationId": 1, "done": True, "payload": verified.encode()}


def _body(msg: Document) -> Document:
    return next((document for kind, document in msg["sections"] if kind == "body"), {})


def _sign(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
