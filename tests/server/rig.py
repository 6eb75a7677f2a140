"""Helpers of this room's tests."""

from __future__ import annotations

import bcrypt

PASSWORD = b"pass:word"
#: With the marks of htpasswd, of other programs, and of bcrypt itself; the same each time.
SALT = b"$2b$04$abcdefghijklmnopqrstuu"
HASHES = [bcrypt.hashpw(PASSWORD, SALT).replace(b"$2b$", kind) for kind in (b"$2y$", b"$2a$", b"$2b$")]
DATA = bytes(range(256)) * 16_000
