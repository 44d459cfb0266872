"""A model hub in miniature: what ``huggingface_hub`` asks a hub for, answered from folders.

It speaks the protocol of the real one as far as reading models goes: commits behind branches and
tags, lists of files, files with their checks, accounts, gated and private models.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

TOKEN = "hf_tiny"
"""The token of the account that may see everything."""


@dataclass
class HubModel:
    """A model on the hub.

    Attributes:
        commits: Folder of each commit's files, by its hash.
        revisions: Commit by the name of a branch or tag.
        gated: Whether its files are for accounts with access only.
        private: Whether others are told that there is no such model.
    """

    commits: dict[str, Path] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, folder: Path, *names: str) -> str:
        """Adds a commit and gives its hash.

        Args:
            folder: Its files.
            names: The branches and tags that it becomes; ``main`` if there are none.
        """
        number = hashlib.sha1(f"{folder}{len(self.commits)}".encode()).hexdigest()  # noqa: S324
        self.commits[number] = folder
        self.revisions |= dict.fromkeys(names or ("main",), number)
        return number


class Request(NamedTuple):
    """What was asked: ``HEAD`` or ``GET``, the path, and the token."""

    method: str
    path: str
    token: str | None


class HubServer:
    """A hub on this machine, from ``with HubServer.running() as hub``.

    Attributes:
        url: Its address.
        models: By id.
        requests: All that was asked, in order.
        down: Whether every request fails.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.models: dict[str, HubModel] = {}
        self.requests: list[Request] = []
        self.down = False

    def add(self, model: str, folder: Path, **options: bool) -> HubModel:
        """Puts a folder on the hub as the main branch of a new model."""
        self.models[model] = HubModel(**options)
        self.models[model].commit(folder)
        return self.models[model]

    def fetched(self, model: str) -> set[str]:
        """Gives the files of a model whose content was sent."""
        start = f"/{model}/resolve/"
        return {
            each.path.removeprefix(start).partition("/")[2]
            for each in self.requests
            if each.method == "GET" and each.path.startswith(start)
        }

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[HubServer]:
        """Starts a hub, and stops it at the end."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        server.hub = hub = cls(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _RefusedError(Exception):
    """An answer that is an error: status, code of the hub, message."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        hub: HubServer = self.server.hub
        path = urlsplit(self.path).path
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        hub.requests.append(Request(self.command, unquote(path), token))
        try:
            self._route(hub, [unquote(part) for part in path.strip("/").split("/")], token)
        except _RefusedError as refusal:
            status, code, message = refusal.args
            self._send(
                b"", status, {"X-Error-Code": code, "X-Error-Message": message} if code else {}
            )

    def _route(self, hub: HubServer, parts: list[str], token: str | None) -> None:
        if hub.down:
            raise _RefusedError(503, None, "")
        match parts:
            case ["api", "models", owner, name]:
                self._info(*_find(hub, f"{owner}/{name}", "main", token))
            case ["api", "models", owner, name, "revision", revision]:
                self._info(*_find(hub, f"{owner}/{name}", revision, token))
            case ["api", "models", owner, name, "tree", revision]:
                self._tree(*_find(hub, f"{owner}/{name}", revision, token))
            case ["api", "models", owner, name, "refs"]:
                self._refs(_find(hub, f"{owner}/{name}", "main", token)[0])
            case [owner, name, "resolve", revision, *path]:
                model, commit = _find(hub, f"{owner}/{name}", revision, token)
                self._file(model, commit, "/".join(path), token)
            case _:
                raise _RefusedError(404, None, "")

    def _info(self, model: HubModel, commit: str) -> None:
        files = [{"rfilename": name} for name in _files(model.commits[commit])]
        self._send_json({"id": "x/y", "sha": commit, "siblings": files, "gated": model.gated})

    def _tree(self, model: HubModel, commit: str) -> None:
        entries = [
            {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}
            for name, path in _files(model.commits[commit]).items()
        ]
        self._send_json(entries)

    def _refs(self, model: HubModel) -> None:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in model.revisions.items()
        ]
        self._send_json({"branches": branches, "tags": [], "converts": []})

    def _file(self, model: HubModel, commit: str, name: str, token: str | None) -> None:
        if model.gated and token != TOKEN:
            message = "Access to this model is restricted."
            raise _RefusedError(403 if token else 401, "GatedRepo", message)
        path = _files(model.commits[commit]).get(name)
        if path is None:
            raise _RefusedError(404, "EntryNotFound", "Entry not found")
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": commit}
        self._send(path.read_bytes(), 200, headers)

    def _send_json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _find(hub: HubServer, name: str, revision: str, token: str | None) -> tuple[HubModel, str]:
    model = hub.models.get(name)
    if model is None or (model.private and token != TOKEN):
        # To those without an account the real hub does not say which.
        raise _RefusedError(404 if token else 401, "RepoNotFound", "Repository not found")
    commit = model.revisions.get(revision, revision)
    if commit not in model.commits:
        raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return model, commit


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()  # noqa: S324 - as git names blobs, nearly
