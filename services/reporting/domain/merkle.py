"""A Merkle tree that grows by appending, kept as the roots of its full subtrees.

Source: RFC 6962, section 2.1: leaves are hashed with 0x00 before them, nodes with 0x01.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of `size` leaves; `peaks` are its full subtrees' roots, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()


def leaf(offset: int, key: bytes | None, value: bytes | None) -> bytes:
    """Return the hash of one record: where it stands, its key, its value."""
    return hashlib.sha256(b"\x00" + msgspec.msgpack.encode((offset, key, value))).digest()


def append(tree: Tree, leaves: Iterable[bytes]) -> Tree:
    """Return the tree with `leaves` added at its end."""
    size, peaks = tree.size, list(tree.peaks)
    for hashed in leaves:
        peaks.append(hashed)
        size += 1
        for _ in range((size & -size).bit_length() - 1):
            right = peaks.pop()
            peaks[-1] = _node(peaks[-1], right)
    return Tree(size, tuple(peaks))


def root(tree: Tree) -> bytes:
    """Return the tree's root; of an empty tree the hash of nothing."""
    if not tree.peaks:
        return hashlib.sha256().digest()
    *rest, current = tree.peaks
    for peak in reversed(rest):
        current = _node(peak, current)
    return current


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
