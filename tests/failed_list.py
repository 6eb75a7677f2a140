"""The lists of failed images, as tests read them."""

from pathlib import Path


def names_in(path: Path) -> list[str]:
    """Return the lines of a list of failed images that name one; the first of them has a reason above it."""
    head, *lines = path.read_text().splitlines()
    assert head == "# hangar-async failed images"
    assert not lines or lines[0].startswith("# ")
    return [line for line in lines if not line.startswith("#")]
