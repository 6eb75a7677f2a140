"""Challenges, and the tokens of the server that a Bearer challenge names.

Source: RFC 9110, section 11.6.1; Docker Registry v2 authentication, "Token Authentication" and "OAuth2 Token
Authentication".
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
from yarl import URL

from hangar_async.errors import ContentError, RegistryError, Unauthorized
from hangar_async.registry.auth.docker_config import TOKEN_USER, Credential
from hangar_async.registry.http.addresses import unsafe, web_address
from hangar_async.registry.http.proxies import basic
from hangar_async.registry.http.response import Response
from hangar_async.registry.http.transport import Transport

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.DOTALL)
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_JUNK = re.compile(r"[^\s,]+")
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
#: The most characters of a header that are read.
_LONGEST = 4 << 10


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; `scheme` and the names of `parameters` are in lower case.

    `internal` says that a server on this machine or its link has named it.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False

    @property
    def realm(self) -> str:
        """The address of the token server (Bearer), or the name of the protected space (Basic); "" where not given."""
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        """The name under which the token server knows the registry; "" where not given."""
        return self.parameters.get("service", "")

    @property
    def scope(self) -> str:
        """The scopes that the request needs, with spaces between them; "" where not given."""
        return self.parameters.get("scope", "")


def challenges_of(response: Response) -> tuple[Challenge, ...]:
    """Return the challenges that come with a response of 401; none for any other."""
    if response.status != 401:
        return ()
    challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
    return tuple(replace(challenge, internal=response.internal) for challenge in challenges)


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read the values of all WWW-Authenticate headers in their order; wrong parts are skipped."""
    return tuple(challenge for header in headers for challenge in _parse(header[:_LONGEST]))


def _parse(text: str) -> list[Challenge]:
    """Read one header: a single word begins a challenge, `name=value` belongs to the last one."""
    challenges: list[tuple[str, dict[str, str]]] = []
    position = _after(_GAP, text, 0)
    while position < len(text):
        if match := _PARAMETER.match(text, position):
            if challenges:
                value = match[3] if match[2] is None else _ESCAPED.sub(r"\1", match[2])
                challenges[-1][1].setdefault(match[1].lower(), value)
        elif match := _SCHEME.match(text, position):
            challenges.append((match[1].lower(), {}))
        position = _after(_GAP, text, match.end() if match else _after(_JUNK, text, position))
    return [Challenge(scheme, parameters) for scheme, parameters in challenges]


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


MAX_TOKEN = 1 << 20
#: The life of a token where its server sends none, and the time before its end when it is renewed, in seconds.
_DEFAULT_LIFE = 60.0
_MARGIN = 10.0
_CLIENT = "hangar_async"
#: The statuses of a server that has no tokens by POST.
_NO_POST = frozenset({404, 405, 501})
_TELL_OPERATOR = "tell the operator of the registry"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for a token; `registry_url` is the address of the registry that wants the token.

    `internal` allows a realm on this machine or its link.
    """

    registry: str
    registry_url: URL
    realm: str
    service: str
    scopes: tuple[str, ...]
    credential: Credential | None
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and the time of its end, by the clock of its TokenServer."""

    text: str = field(repr=False)
    expires: float

    @property
    def header(self) -> str:
        """The value of its Authorization header."""
        return f"Bearer {self.text}"


class TokenAnswer(msgspec.Struct):
    """The answer of a token server; `expires_in` is in seconds."""

    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


class TokenServer:
    """Gets tokens: with an identity token by POST, else by GET with the user name and password, if any."""

    def __init__(self, transport: Transport, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._clock = clock

    async def get(self, request: TokenRequest) -> Token:
        """Get a token; raises Unauthorized, RegistryError or NetworkError about the token server."""
        realm = checked_realm(request, self._transport.named)
        start = self._clock()
        response = None
        if request.credential and request.credential.identity_token:
            response = await self._post(realm, request, request.credential.identity_token)
        if response is None:
            response = await self._get(realm, request)
        text = response.token or response.access_token
        if not text or not text.isascii() or not text.isprintable():
            server = f"the token server {realm.host_port_subcomponent} of {request.registry}"
            raise ContentError(f"{server} answered without a token", advice=_TELL_OPERATOR)
        life = response.expires_in if response.expires_in and response.expires_in > 0 else _DEFAULT_LIFE
        return Token(text, start + life - min(_MARGIN, life / 4))

    async def _post(self, realm: URL, request: TokenRequest, identity_token: str) -> TokenAnswer | None:
        form = {
            "grant_type": "refresh_token",
            "service": request.service,
            "client_id": _CLIENT,
            "scope": " ".join(request.scopes),
            "refresh_token": identity_token,
        }
        try:
            return await self._ask(realm, request, form=form)
        except RegistryError as error:
            if error.status in _NO_POST:
                return None
            raise

    async def _get(self, realm: URL, request: TokenRequest) -> TokenAnswer:
        fields = {"service": request.service} if request.service else {}
        authorization = None
        if credential := request.credential:
            username = fields["account"] = credential.username or TOKEN_USER
            authorization = basic(username, credential.password or credential.identity_token)
        query = [*fields.items(), *(("scope", scope) for scope in request.scopes)]
        return await self._ask(realm.update_query(query), request, authorization=authorization)

    async def _ask(
        self, url: URL, request: TokenRequest, *, authorization: str | None = None, form: dict[str, str] | None = None
    ) -> TokenAnswer:
        host = f"{url.host_port_subcomponent}"
        subject = f"a token for {' and '.join(request.scopes) or request.registry}"
        source = request.credential.source if request.credential else ""
        async with await self._transport.send(
            url, host, headers={}, authorization=authorization, form=form, internal=request.internal
        ) as response:
            if response.status != 200:
                raise await response.refusal(subject, source)
            body = await response.read(subject, MAX_TOKEN)
        return parse_token_answer(body, f"the token server {host} of {request.registry}")


def checked_realm(request: TokenRequest, named: Container[str] = ()) -> URL:
    """Read a realm as a URL; raises Unauthorized for one that is not safe, see `unsafe`."""
    realm = web_address(request.realm)
    if problem := unsafe(realm, tls=request.registry_url.scheme == "https", internal=request.internal, named=named):
        raise Unauthorized(
            f"{request.registry} sends us for a token to {problem}, which is not followed",
            host=request.registry,
            status=401,
            advice=_TELL_OPERATOR,
        )
    return realm


def parse_token_answer(body: bytes, server: str) -> TokenAnswer:
    """Read the body of an answer of a token server; raises ContentError, which tells nothing of it."""
    try:
        return msgspec.json.decode(body, type=TokenAnswer)
    except msgspec.ValidationError as error:
        problem = f"other JSON: {error}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = "no JSON"
    # Raised outside, since an error of the decoder may hold what it read.
    raise ContentError(f"{server} answered with {problem}", advice=_TELL_OPERATOR)
