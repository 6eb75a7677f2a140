"""Memory for the pieces of the transfers of a run: one budget for all."""

#: The sizes in bytes of buffers; there are at most 16 of each but the smallest.
SIZES = (512 << 10, 256 << 10, 128 << 10)
_OF_EACH = 16


class PieceBuffers:
    """Buffers for pieces: large ones for the first transfers, and smaller ones for further ones.

    All that are lent have at most 23 MiB where 60 transfers have two each. They are used again. Belongs to one event
    loop.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[bytearray]] = {size: [] for size in SIZES}
        self._lent = dict.fromkeys(SIZES, 0)

    def take(self) -> bytearray:
        """Return a buffer, which `give` takes back."""
        size = next((size for size in SIZES[:-1] if self._lent[size] < _OF_EACH), SIZES[-1])
        self._lent[size] += 1
        free = self._free[size]
        return free.pop() if free else bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Take a buffer back."""
        self._lent[len(buffer)] -= 1
        self._free[len(buffer)].append(buffer)
