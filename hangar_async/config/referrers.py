"""The value of `--referrers`."""

from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci import ReferrerSelector


def checked_referrers(text: str) -> ReferrerSelector:
    """Read `all`, `none`, or artifact types separated by commas; raises UsageError."""
    try:
        return ReferrerSelector.parse(text)
    except InvalidValue as error:
        raise UsageError(f"--referrers: {error}") from error
