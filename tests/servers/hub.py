"""A Hugging Face hub in a thread, as far as downloads and uploads of model repositories need one.

What it answers is what huggingface_hub 2.4 asks for (file_download.py, _commit_api.py, lfs.py, hf_api.py): `resolve` with
a redirect to storage for large files, `preupload`, the LFS batch, and commits as lines of JSON. Without Xet.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.servers.files import LocalHandler, LocalServer

TOKEN = "hf_aTokenThatMustNotBeSeenAnywhere"
LFS_NAMES = (".safetensors", ".bin", ".npz")


@dataclass
class Repository:
    """`commits` by their oid, each all its files; `refs` name some of them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    private: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        listing = repr(sorted((name, hashlib.sha1(content).hexdigest()) for name, content in files.items()))
        oid = hashlib.sha1(f"{len(self.commits)} {listing}".encode()).hexdigest()
        self.commits[oid] = files
        self.refs[branch] = oid
        return oid

    def find(self, revision: str) -> str | None:
        oid = self.refs.get(revision, revision)
        return oid if oid in self.commits else None


@dataclass
class HubServer(LocalServer):
    """Serves `repositories` by "owner/name". Uploads, and private repositories, need `TOKEN`.

    `may_write`: whether that token may. `refused`: uploads fail at the address that contains this. `stored`: what was
    uploaded as large files, by SHA-256.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    may_write: bool = True
    refused: str = ""
    stored: dict[str, bytes] = field(default_factory=dict)

    def handler(self) -> type[LocalHandler]:
        return _HubHandler

    @property
    def storage_url(self) -> str:
        """Another host as far as clients can see, as on the real hub: no token may go there."""
        return self.url.replace("127.0.0.1", "localhost")

    def add(self, name: str, files: dict[str, bytes], **settings: Any) -> str:
        """Make a repository with one commit and return the commit."""
        self.repositories[name] = Repository(**settings)
        return self.repositories[name].commit(files)


class _HubHandler(LocalHandler):
    def do_GET(self) -> None:  # noqa: N802 (http.server's names)
        self._answer_read()

    def do_HEAD(self) -> None:  # noqa: N802
        self._answer_read()

    def _answer_read(self) -> None:
        if self.fails():
            return
        if match := re.fullmatch(r"/storage/([0-9a-f]{64})", self.route):
            self.send_content(self._large_file(match[1]), {"ETag": f'"{match[1]}"'})
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+?)/([^/]+)", self.route):
            self._resolve(*match.groups())
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", self.route):
            if found := self._find(match[1], match[2]):
                files = self.site.repositories[match[1]].commits[found]
                self._answer_json(
                    [{"type": "file", "path": n, "size": len(c), "oid": git_oid(c)} for n, c in files.items()]
                )
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", self.route):
            if found := self._find(match[1], match[2] or "main"):
                private = self.site.repositories[match[1]].private
                self._answer_json({"id": match[1], "sha": found, "siblings": [], "tags": [], "private": private})
        else:
            self.answer(404)

    def _resolve(self, name: str, revision: str, file: str) -> None:
        commit = self._find(name, revision)
        if commit is None:
            return
        content = self.site.repositories[name].commits[commit].get(file)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            self.answer(404, headers=headers | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        elif file.endswith(LFS_NAMES):
            oid = hashlib.sha256(content).hexdigest()
            # As on the real hub, the address of the storage is a secret by itself.
            location = f"{self.site.storage_url}/storage/{oid}?Signature=secret-signature"
            headers |= {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(content)), "Location": location}
            self.answer(302, headers=headers)
        else:
            self.send_content(content, headers | {"ETag": f'"{git_oid(content)}"'})

    def _large_file(self, oid: str) -> bytes:
        for repository in self.site.repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == oid:
                        return content
        raise AssertionError(f"nobody was sent to {oid}")

    def _find(self, name: str, revision: str) -> str | None:
        """Return the commit that a revision names; else answer with the hub's error."""
        repository = self.site.repositories.get(name)
        if repository is None or (repository.private and not self._knows_token()):
            self._refuse(404 if self._knows_token() else 401, "RepoNotFound", "Repository not found")
            return None
        commit = repository.find(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _knows_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.answer(status, headers={"X-Error-Code": code, "X-Error-Message": message})

    def _answer_json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def do_PUT(self) -> None:  # noqa: N802
        oid = self.route.removeprefix("/upload/")
        content = self.read_body()
        if self._refuses():
            return
        if hashlib.sha256(content).hexdigest() != oid:
            self.answer(400)
            return
        self.site.stored[oid] = content
        self.answer(200)

    def do_POST(self) -> None:  # noqa: N802
        body = self.read_body()
        if self.fails() or self._refuses():
            return
        if self.route == "/api/validate-yaml":  # of a model card; the real hub knows its licences
            wrong = "license: no-such-licence" in json.loads(body)["content"]
            errors = [{"message": '"license" must be one of'}] if wrong else []
            self.answer(400 if wrong else 200, json.dumps({"errors": errors, "warnings": []}).encode())
            return
        if not self._knows_token():
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif not self.site.may_write:
            self._refuse(403, "", "You don't have the rights to create a model under this namespace")
        elif self.route == "/api/repos/create":
            self._create(json.loads(body))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", self.route):
            refs = self.site.repositories[match[1]].refs
            taken = match[2] in refs
            refs.setdefault(match[2], refs["main"])
            self.answer(409 if taken else 200)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", self.route):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LFS_NAMES) else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in json.loads(body)["files"]
            ]
            self._answer_json({"files": files})
        elif self.route.endswith(".git/info/lfs/objects/batch"):
            objects = [
                entry | {"actions": {"upload": {"href": f"{self.site.url}/upload/{entry['oid']}"}}}
                for entry in json.loads(body)["objects"]
            ]
            self._answer_json({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", self.route):
            self._commit(match[1], match[2], [json.loads(line) for line in body.splitlines()])
        else:
            self.answer(404)

    def _refuses(self) -> bool:
        refuses = bool(self.site.refused) and self.site.refused in self.route
        if refuses:
            self.answer(413, b"<html>too large</html>")
        return refuses

    def _create(self, wish: dict[str, Any]) -> None:
        name = f"{wish['organization']}/{wish['name']}"
        if name in self.site.repositories:
            self.answer(409, json.dumps({"url": f"{self.site.url}/{name}"}).encode())
            return
        self.site.add(name, {".gitattributes": b""}, private=wish.get("visibility") == "private")
        self._answer_json({"url": f"{self.site.url}/{name}"})

    def _commit(self, name: str, branch: str, lines: list[dict[str, Any]]) -> None:
        repository = self.site.repositories[name]
        files = dict(repository.commits[repository.refs[branch]])
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.site.stored[value["oid"]]
        oid = repository.commit(files, branch)
        self._answer_json({"success": True, "commitOid": oid, "commitUrl": f"{self.site.url}/{name}/commit/{oid}"})


def git_oid(content: bytes) -> str:
    """Return git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
