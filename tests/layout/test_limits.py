"""The bounds of a layout, for its readers and its writers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hangar_async.errors import ContentError
from hangar_async.layout import limits
from hangar_async.layout.files import cache_files
from hangar_async.layout.limits import LayoutTotals, most_entries, most_list_bytes, most_list_values
from hangar_async.oci import graph
from tests.engine.forms import Saved
from tests.layout.rig import Made, read


def test_a_large_layout_may_name_more() -> None:
    assert most_entries(0) == 1 << 19
    assert most_entries(1 << 30) == 1 << 24
    assert most_list_values(0) == 1 << 19
    assert most_list_values(1 << 30) == 1 << 25
    assert most_list_bytes(1 << 19) == 64 << 20
    assert most_list_bytes(1 << 25) == 1 << 30


def test_each_layer_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty platforms of a config and eleven layers each, in an index of their own."""
    monkeypatch.setattr(limits, "_BYTES_AN_ENTRY", 1 << 30)
    monkeypatch.setattr(graph, "MAX_ENTRIES", 20 + 20 * 12)
    made = Made(tmp_path)
    manifests = [made.manifest(11, str(number)) for number in range(20)]
    made.image("many", made.index(*manifests), *manifests)
    (image,) = made.read().images
    assert len(image.platforms) == 20
    # The manifest, its config, and eleven layers of a byte; ten of the configs have a number of two digits.
    assert {platform.size for platform in image.platforms} == {1416, 1417}
    totals = LayoutTotals()
    totals.add(image, 0)
    with pytest.raises(ContentError, match="more than 260 blobs"):
        totals.add(image, 0)


def test_the_lists_are_counted_as_they_are_written(everything: Saved) -> None:
    images = [image for image in read(everything.at("dir")).images if image.root is not None]
    totals = LayoutTotals()
    for image in images:
        totals.add(image, 0)
    for name, data in cache_files(images, datetime.now(UTC)).items():
        if name in totals.lists:
            size, values = totals.lists[name]
            assert len(data) <= size <= len(data) + 2 * len(images)
            assert data.count(b",") <= values <= data.count(b",") + 1


def test_a_list_of_too_many_values_is_refused(everything: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    (image, *_) = read(everything.at("dir")).images
    monkeypatch.setattr(limits, "MOST_VALUES", 9)
    with pytest.raises(ContentError, match="too large to be read") as raised:
        LayoutTotals().add(image, 0)
    assert raised.value.advice == "split the list of images"
    LayoutTotals().add(image, 1 << 20)
