"""The Hugging Face hub on this machine, as much of it as uploads and downloads of models ask for."""
from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"


class Hub:
    """Repositories by name: commits, each all of its files, and branches."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.stored: dict[str, bytes] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        self.cut: str | None = None
        """Path of a file, or of an upload, in the middle of which the connection breaks."""

    def create(self, name: str) -> bool:
        if name in self.commits:
            return False
        self.commits[name], self.branches[name] = {}, {}
        self.branches[name]["main"] = self.commit(name, {".gitattributes": b""})
        return True

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        said = repr(sorted((path, hashlib.sha1(content).hexdigest()) for path, content in files.items()))
        oid = hashlib.sha1(f"{len(self.commits[name])} {said}".encode()).hexdigest()
        self.commits[name][oid] = files
        return oid

    def files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        oid = self.branches[name].get(revision, revision)
        return (oid, self.commits[name][oid]) if oid in self.commits[name] else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_) -> None:
        pass

    def answer(self, status: int, body: object = b"", headers: dict | None = None, cut: bool = False) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:len(content) // 2] if cut else content)
        if cut:
            self.break_off()

    def break_off(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def refuse(self, code: str, status: int = 404) -> None:
        self.answer(status, dict(error=code), {"X-Error-Code": code, "X-Error-Message": code})

    def do_HEAD(self) -> None:
        self.serve(b"")

    def do_GET(self) -> None:
        self.serve(b"")

    def do_PUT(self) -> None:
        self.serve(self.rfile.read(int(self.headers["Content-Length"])))

    def do_POST(self) -> None:
        self.serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def serve(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", TOKEN):
            said = "Invalid credentials in Authorization header"
            return self.answer(401, dict(error=said), {"X-Error-Message": said})
        if self.command in ("POST", "PUT") and not token and not path.startswith("/stored"):
            return self.answer(401, dict(error="Unauthorized"), {"X-Error-Message": "Unauthorized"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            new = self.hub.create(name)
            self.hub.private |= {name} if asked.get("visibility") == "private" or asked.get("private") else set()
            return self.answer(200 if new else 409, dict(url=f"{self.endpoint}/{name}", name=name))
        if path == "/api/validate-yaml":
            return self.answer(200, dict(errors=[], warnings=[]))
        if found := re.fullmatch("/stored/([0-9a-f]+)", path):
            self.hub.stored[found[1]] = body
            return self.answer(200)
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch|revision|tree)/([^/]+).*", path)
        batch = re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or batch or file
        name = found[1] if found else ""
        if name not in self.hub.commits or name in self.hub.private and not token:
            return self.refuse("RepoNotFound", 404 if token else 401)
        if batch:
            return self.answer(200, dict(transfer="basic", objects=[
                dict(one, actions=dict(upload=dict(href=f"{self.endpoint}/stored/{one['oid']}")))
                for one in json.loads(body)["objects"]]))
        if api and api[2] == "branch":
            new = api[3] not in self.hub.branches[name]
            self.hub.branches[name].setdefault(api[3], self.hub.branches[name]["main"])
            return self.answer(200 if new else 409, {})
        at = self.hub.files(name, (api or file)[3 if api else 2])
        if at is None:
            return self.refuse("RevisionNotFound")
        self.download(*at, file[3]) if file else self.call(name, api[2], api[3], at[0], at[1], body)

    def download(self, oid: str, files: dict[str, bytes], path: str) -> None:
        if path not in files:
            return self.refuse("EntryNotFound")
        content, headers = files[path], {"X-Repo-Commit": oid}
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        start = int(re.findall(r"\d+", self.headers.get("Range") or "0")[0])
        cut = self.hub.cut == path and self.command == "GET"
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, content[start:], headers, cut)

    def call(self, name: str, what: str, revision: str, oid: str, files: dict[str, bytes], body: bytes) -> None:
        if what == "revision":
            return self.answer(200, dict(id=name, sha=oid, siblings=[dict(rfilename=path) for path in files]))
        if what == "tree":
            return self.answer(200, [dict(type="file", path=path, size=len(content), oid=hashlib.sha1(
                content).hexdigest()) for path, content in files.items()])
        if self.hub.cut == what:
            return self.break_off()
        if what == "preupload":
            return self.answer(200, dict(files=[
                dict(path=one["path"], shouldIgnore=False,
                     uploadMode="lfs" if one["path"].endswith(".safetensors") else "regular")
                for one in json.loads(body)["files"]]))
        files = dict(files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.hub.branches[name][revision] = oid = self.hub.commit(name, files)
        self.answer(200, dict(commitUrl=f"{self.endpoint}/{name}/commit/{oid}", commitOid=oid))

    @property
    def endpoint(self) -> str:
        return "http://{}:{}".format(*self.server.server_address)


@contextmanager
def serving() -> Iterator[tuple[Hub, str]]:
    """A hub, empty, and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Handler,), dict(hub=hub)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub, "http://{}:{}".format(*server.server_address)
    finally:
        server.shutdown()
        server.server_close()
