"""Lists in pages (distribution-spec, "Listing Tags")."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

#: More digits are no number of names.
_MOST_DIGITS = 9


def page(names: Sequence[str], query: Mapping[str, str], path: str) -> tuple[list[str], dict[str, str]]:
    """Choose of sorted names what `n` and `last` of a query ask for; return them, and a header that links to the rest.

    Whatever else the query says stands in the link too. Raises ValueError for an `n` that is no number.
    """
    count = query.get("n")
    if count is not None and not (count.isascii() and count.isdigit() and len(count) <= _MOST_DIGITS):
        raise ValueError(count)
    start = bisect_right(names, query["last"]) if "last" in query else 0
    chosen = list(names[start:] if count is None else names[start : start + int(count)])
    if not chosen or start + len(chosen) == len(names):
        return chosen, {}
    rest = urlencode({**query, "last": chosen[-1]})
    return chosen, {"Link": f'<{path}?{rest}>; rel="next"'}
