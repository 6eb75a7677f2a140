"""What registries refuse when something is pushed, told in this project's own exceptions.

Source: OCI distribution-spec, "Error Codes".
"""

from __future__ import annotations

from collections.abc import Mapping

from hangar_async.errors import Incomplete, NotFound, RegistryError, Unauthorized
from hangar_async.registry.failures import refused

_REPLACED = (
    "does not let {what} replace what is there",
    "its tags are immutable: remove the tag there, or push under another one",
)
_INCOMPLETE = ("lacks something that {what} names", "push it again: what a manifest names has to be there first")
#: It is said beside other things.
_LACKS = "MANIFEST_BLOB_UNKNOWN"
#: By the registry's own code, else by the status: what it says, and what to do.
_BY_CODE = {
    "BLOB_UNKNOWN": _INCOMPLETE,
    _LACKS: _INCOMPLETE,
    "MANIFEST_INVALID": (
        "does not take {what}",
        "see its log: it may not know this kind of manifest, or want all that an index names",
    ),
    "NAME_INVALID": ("does not take the name for {what}", "push under another name; some registries want PROJECT/NAME"),
    "TAG_INVALID": ("does not take the tag for {what}", "push under another tag; this one may be immutable there"),
}
_BY_STATUS = {
    404: (
        "has no repository for {what}",
        "check the name; where repositories or projects are not made by a push, make it there first",
    ),
    405: (
        "takes no pushes, so not {what} either",
        "push to a registry that can be written: this one only hands on what others have, or is being maintained",
    ),
    409: _REPLACED,
    412: _REPLACED,
    413: (
        "finds {what} too large",
        "raise the limit of the registry, or of the proxy before it (in nginx client_max_body_size)",
    ),
    415: ("does not take the media type of {what}", "push to a registry that knows it, or update this one"),
    507: ("has no room for {what}", "make room there, or raise the quota"),
}
_MAY_PUSH = "check or renew these credentials, and that they may push to this repository"
_LOG_IN = "log in with hangar-async login, or set DEST_USERNAME and DEST_PASSWORD"


def push_refused(
    host: str,
    what: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    source: str = "",
    redirected: bool = False,
) -> RegistryError:
    """Make the error for an answer of `status` to pushing `what`; see `failures.refused`."""
    error = refused(host, what, status, headers, body, source=source, redirected=redirected)
    if isinstance(error, Unauthorized):
        error.advice = _MAY_PUSH if source else _LOG_IN
        return error
    if error.transient:
        return error
    code = _LACKS if f"{_LACKS}:" in error.said else error.code
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if meaning is None:
        return error
    message, advice = meaning
    text = f"{host} {message.format(what=what)}{f': {error.said}' if error.said else ''}"
    usual = NotFound if status == 404 else RegistryError
    kind = Incomplete if meaning is _INCOMPLETE else usual
    return kind(text, host=host, status=status, code=code, advice=advice, redirected=redirected, said=error.said)
