"""A Hugging Face hub on loopback for tests: what huggingface_hub uses of its HTTP API to look up and to download.

As on the real one, safetensors are kept elsewhere: their address is a redirect to another server, to which a token
must not be sent; a repository that one may not see is answered as one that is not there.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class FakeRepository:
    private: bool = False
    gated: bool = False
    card: dict = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Replaces what the branch holds; returns the commit."""
        parts = [branch.encode(), *(name.encode() + content for name, content in sorted(files.items()))]
        commit = hashlib.sha1(b"\0".join(parts)).hexdigest()
        self.commits[commit] = files
        self.refs[branch] = commit
        return commit

    def at(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


class FakeHub:
    """`requests` has (method, path, whether a token came) of all requests, `elsewhere` those to the other server.

    The statuses in `failures` are the answers to the next requests.
    """

    token = "hf_secretOfTheWorker"

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], FakeRepository] = {}
        self.requests: list[tuple[str, str, bool]] = []
        self.elsewhere: list[tuple[str, str, bool]] = []
        self.failures: list[int] = []
        self.tells_sizes = True
        self.on_request = lambda path: None
        self._servers = [self._serve(_HubHandler), self._serve(_StoreHandler)]
        self.url, self.store_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def add(self, kind: str, name: str, files: dict[str, bytes], **more: object) -> FakeRepository:
        repository = FakeRepository(**more)
        repository.commit(files)
        self.repositories[kind, name] = repository
        return repository

    def fetched(self) -> list[str]:
        """The names of files whose content was asked for."""
        return [path.split("/")[-1] for method, path, _ in self.requests + self.elsewhere
                if method == "GET" and not path.startswith("/api/")]

    def close(self) -> None:
        self.close_store()
        self._close(self._servers[0])

    def close_store(self) -> None:
        self._close(self._servers[1])

    @staticmethod
    def _close(server: ThreadingHTTPServer) -> None:
        server.shutdown()
        server.server_close()

    def _serve(self, handler: type) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.hub = self
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def content(self, body: bytes, **headers: str) -> None:
        """A file, or what the header Range asks of it."""
        given = self.headers.get("Range")
        if given is None:
            return self.answer(200, body, **headers)
        start = int(given.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            return self.answer(416)
        return self.answer(206, body[start:], Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", **headers)


class _HubHandler(_Handler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub: FakeHub = self.server.hub
        path = urlsplit(self.path).path
        bearer = self.headers.get("Authorization")
        hub.requests.append((self.command, unquote(path), bearer is not None))
        hub.on_request(path)
        if hub.failures:
            return self.answer(hub.failures.pop(0))
        parts = [unquote(part) for part in path.strip("/").split("/")]
        is_api = parts[0] == "api"
        if is_api:
            parts = parts[1:]
        kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if is_api or kind == "dataset" else parts
        at = parts.index("revision" if is_api else "resolve")
        repository = hub.repositories.get((kind, "/".join(parts[:at])))
        known = bearer == f"Bearer {hub.token}"
        if repository is None or repository.private and not known:
            return self.answer(404 if known else 401, X_Error_Code="RepoNotFound")
        commit = repository.at(parts[at + 1])
        if commit is None:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if is_api:
            return self._describe("/".join(parts[:at]), repository, commit)
        if repository.gated and not known:
            return self.answer(401, X_Error_Code="GatedRepo")
        return self._resolve(repository.commits[commit], commit, "/".join(parts[at + 2:]))

    def _describe(self, name: str, repository: FakeRepository, commit: str) -> None:
        siblings = [{"rfilename": file, **({"size": len(content)} if self.server.hub.tells_sizes else {})}
                    for file, content in repository.commits[commit].items()]
        info = {"id": name, "sha": commit, "siblings": siblings, "cardData": repository.card}
        self.answer(200, json.dumps(info).encode(), Content_Type="application/json")

    def _resolve(self, files: dict[str, bytes], commit: str, name: str) -> None:
        if name not in files:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        digest = hashlib.sha256(files[name]).hexdigest()
        if not name.endswith(".safetensors"):
            return self.content(files[name], ETag=f'"{digest[:40]}"', X_Repo_Commit=commit)
        return self.answer(302, ETag=f'"{digest[:40]}"', X_Linked_ETag=f'"{digest}"', X_Repo_Commit=commit,
                           X_Linked_Size=str(len(files[name])),
                           Location=f"{self.server.hub.store_url}/{digest}/{name}?Signature=s1gned")


class _StoreHandler(_Handler):
    def do_GET(self) -> None:
        hub: FakeHub = self.server.hub
        path = urlsplit(self.path).path
        hub.elsewhere.append((self.command, path, self.headers.get("Authorization") is not None))
        hub.on_request(path)
        digest = path.split("/")[1]
        for repository in hub.repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == digest:
                        return self.content(content)
        return self.answer(404)
