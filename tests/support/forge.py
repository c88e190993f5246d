"""A server that speaks the APIs of GitHub and Bitbucket, as far as pollers of pull requests ask."""

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class Forge:
    """A server whose lists have pages of two."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left: int | None = None  # requests until the rate limit
        self.credentials: str | None = None  # what the Authorization header must be
        self.authorizations: set[str | None] = set()
        self.elsewhere = ""  # where the next page is said to be
        self.moved = ""  # where another list is said to have moved
        self.pulls: dict[int, dict[str, Any]] = {}
        app = web.Application(middlewares=[self._check])
        app.router.add_get("/repos/o/r/pulls", self._github_list)
        app.router.add_get("/repos/o/r/pulls/{number}/files", self._github_files)
        app.router.add_get("/users/{name}", self._github_user)
        app.router.add_get("/repositories/o/r/pullrequests", self._bitbucket_list)
        app.router.add_get("/commit/{hash}", self._bitbucket_commit)
        app.router.add_get("/repos/o/nonsense/pulls", self._nonsense)
        app.router.add_get("/repos/o/moved/pulls", self._moved)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    @web.middleware
    async def _check(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        self.authorizations.add(request.headers.get("Authorization"))
        if self.credentials is not None and request.headers.get("Authorization") != self.credentials:
            return web.json_response({"message": "Bad credentials"}, status=401)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000000"}
                return web.json_response({"message": "API rate limit exceeded"}, status=403, headers=headers)
        response: web.StreamResponse = await handler(request)
        return response

    def _page(self, request: web.Request, items: list[Any]) -> tuple[list[Any], str | None]:
        page = int(request.query.get("page", "1"))
        more = len(items) > page * 2
        following = str(request.url.update_query(page=str(page + 1))) if more else None
        return items[page * 2 - 2 : page * 2], self.elsewhere or following

    def _listed(self, request: web.Request, items: list[Any]) -> web.Response:
        found, following = self._page(request, items)
        headers = {"Link": f'<{following}>; rel="next", <{self.url}>; rel="first"'} if following else {}
        return web.json_response(found, headers=headers)

    async def _github_list(self, request: web.Request) -> web.Response:
        assert request.query["state"] == "open"
        return self._listed(request, list(self.pulls.values()))

    async def _github_files(self, request: web.Request) -> web.Response:
        return self._listed(request, [{"filename": name} for name in ("a", "b/ü", "c\nd")])

    async def _github_user(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != "ann":
            return web.json_response({"message": "Not Found"}, status=404)
        return web.json_response({"login": "ann", "email": "ann@example.org"})

    async def _bitbucket_list(self, request: web.Request) -> web.Response:
        found, following = self._page(request, list(self.pulls.values()))
        return web.json_response({"values": found, **({"next": following} if following else {})})

    async def _bitbucket_commit(self, request: web.Request) -> web.Response:
        short = request.match_info["hash"]
        return web.json_response({"hash": short + "0" * (40 - len(short))})

    async def _nonsense(self, request: web.Request) -> web.Response:
        return web.json_response({"a": 1}) if "per_page" in request.query else web.Response(text="<html>")

    async def _moved(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(self.moved)

    def github(self, number: int, head: str, user: str | None = "ann", target: str = "main") -> None:
        base = {"full_name": "o/r", "clone_url": "https://h/o/r.git", "ssh_url": "git@h:o/r.git"}
        fork = {"full_name": "ann/r", "clone_url": "https://h/ann/r.git", "ssh_url": "git@h:ann/r.git"}
        self.pulls[number] = {
            "number": number,
            "html_url": f"https://h/o/r/pull/{number}",
            "title": f"Title {number}",
            "body": None,
            "user": {"login": user} if user else None,
            "updated_at": "2026-01-02T03:04:05Z",
            "head": {"ref": f"topic{number}", "sha": head, "repo": fork if user else None},
            "base": {"ref": target, "repo": base},
            "labels": [{"name": "x"}],
        }

    def bitbucket(self, number: int, head: str) -> None:
        self.pulls[number] = {
            "id": number,
            "title": f"Title {number}",
            "updated_on": "2026-01-02T03:04:05.123456+00:00",
            "author": {"display_name": "Ann"},
            "links": {"html": {"href": f"https://b/o/r/pull-requests/{number}"}},
            "source": {
                "branch": {"name": "topic"},
                "commit": {"hash": head, "links": {"self": {"href": f"{self.url}/commit/{head}"}}},
                "repository": {"links": {"html": {"href": "https://b/ann/r"}}},
            },
            "destination": {"branch": {"name": "main"}},
        }
