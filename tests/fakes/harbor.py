"""Harbor's API of projects, written from its public description.

Source: Harbor API v2.0, "project".
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from aiohttp import web

PASSWORD = "Harbor12345"


@dataclass
class Harbor:
    """Projects and users; only `admins` may make projects."""

    projects: dict[str, dict[str, str]] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=lambda: {"admin": PASSWORD, "other": "x"})
    admins: frozenset[str] = frozenset({"admin"})
    status: int | None = None
    #: The repositories of each project.
    repositories: list[str] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.Response:
        if self.status:
            return web.Response(status=self.status)
        if request.path.endswith("/repositories"):
            return self._repositories(request)
        if request.path != "/api/v2.0/projects":
            return web.Response(status=404)
        user = self.user(request)
        if user is None:
            return refusal(401, "UNAUTHORIZED", "unauthorized")
        # A session would need a token against forged requests.
        assert "Cookie" not in request.headers
        if request.method == "HEAD":
            return web.Response(status=200 if request.query["project_name"] in self.projects else 404)
        if user not in self.admins:
            return refusal(403, "FORBIDDEN", "Only system admin can create project")
        wish = json.loads(await request.read())
        if wish["project_name"] in self.projects:
            return refusal(409, "CONFLICT", f"The project named {wish['project_name']} already exists")
        self.projects[wish["project_name"]] = wish["metadata"]
        response = web.Response(status=201, headers={"Location": "/api/v2.0/projects/1"})
        response.set_cookie("sid", "a session")
        return response

    def _repositories(self, request: web.Request) -> web.Response:
        project = request.path.split("/")[4]
        if project not in self.projects:
            return refusal(404, "NOT_FOUND", f"project {project} not found")
        if self.user(request) is None:
            return refusal(401, "UNAUTHORIZED", "unauthorized")
        size = int(request.query["page_size"])
        start = (int(request.query["page"]) - 1) * size
        return web.json_response([{"name": f"{project}/{name}"} for name in self.repositories[start : start + size]])

    def user(self, request: web.Request) -> str | None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        return name if scheme == "Basic" and self.users.get(name) == password else None


def refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)
