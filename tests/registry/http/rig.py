"""Helpers of this room's tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hangar_async.registry.client import RegistryClient
from tests.fakes.registry import FakeRegistry
from tests.registry.rig import (
    Answer,
)

Scene = Callable[[FakeRegistry, RegistryClient], Awaitable[None]]
Play = Callable[[Answer, Scene], None]
