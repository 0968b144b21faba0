"""A hash table over arrays: many ids looked up or added at once, without a loop over them.

Open addressing with linear probing (Knuth, TAOCP 3, 6.4, algorithm L), each probe one NumPy
gather for all keys that are still on their way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SMALLEST = 10
_NUMBER, _MARK = np.uint64(0xFFFFFFFF), np.uint64(0x7FFFFFFF00000000)
_OPEN = np.uint64(1 << 63)
"""The upper bit of a slot that holds no number yet."""
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_MOVED = 1 << 17
"""Keys that are moved to a larger table at once."""


class IdTable:
    """Numbers distinct keys by first appearance. A key is two hashes of 64 bits, of two seeds.

    A slot is one number: 31 bits of the first hash above the 32 of the key's number. Which slots
    are looked at is said by other bits of the first hash, and a match is believed when the second
    hash matches too: 95 bits and more, so that of 1e8 ids any two are taken for one with a chance
    below 1e-12.
    """

    def __init__(self) -> None:
        self._bits = _SMALLEST
        self._slots: Array = np.full(1 << self._bits, _EMPTY)
        self._first: Array = np.empty(0, np.uint64)
        self._second: Array = np.empty(0, np.uint64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, first: Array, second: Array) -> Array:
        """Numbers of keys, int64 (n,); -1 where a key is not here.

        Args:
            first: uint64 (n,), the first hash of each key.
            second: uint64 (n,), the second one.
        """
        if not self._count:
            return np.full(len(first), -1, dtype=np.int64)
        slot, mark = self._place(first), (first << np.uint64(32)) & _MARK
        found, left = self._look(slot, mark, second)
        todo = left
        while len(todo):  # the few whose slot another key has
            slot, mark, second = (slot[left] + 1) & self._wrap, mark[left], second[left]
            found[todo], left = self._look(slot, mark, second)
            todo = todo[left]
        return found

    def candidates(self, first: Array) -> Array:
        """Places of keys that may be here, int64 (m,): all that are, and about one in ten others.

        Much quicker than `find` where few of many keys are here.

        Args:
            first: uint64 (n,), the first hash of each key.
        """
        bits = np.uint64(64 - max(16, (10 * self._count).bit_length()))
        near = np.zeros(1 << int(64 - bits), dtype=bool)
        near[(self._first[: self._count] >> bits).view(np.int64)] = True
        found: Array = np.flatnonzero(near.take((first >> bits).view(np.int64)))
        return found

    def _look(self, slot: Array, mark: Array, second: Array) -> tuple[Array, Array]:
        """Numbers of the keys in these slots, else -1; and which keys may be further on."""
        held = self._slots.take(slot)
        number = (held & _NUMBER).view(np.int64)
        match = (held ^ mark) <= _NUMBER
        match &= self._second.take(number, mode="clip") == second
        left = np.flatnonzero(~match)
        number[left] = -1
        return number, left[held[left] != _EMPTY]

    def add(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Number keys that are not here; a key may repeat.

        Args:
            first: uint64 (n,), the first hash of each key.
            second: uint64 (n,), the second one.

        Returns:
            The keys' numbers, int64 (n,), and where each new one appears first, int64 (new,),
            ascending.
        """
        self._make_room(self._count + len(first))
        slot = self._place(first)
        owner = self._settle(slot, first, second)
        places = np.flatnonzero(owner == np.arange(len(first)))
        count = self._count + len(places)
        number = np.empty(len(first), dtype=np.int64)
        number[places] = np.arange(self._count, count)
        self._first = _longer(self._first, count)
        self._second = _longer(self._second, count)
        self._first[self._count : count] = first[places]
        self._second[self._count : count] = second[places]
        word = ((first[places] << np.uint64(32)) & _MARK) | number[places].astype(np.uint64)
        self._slots[slot[places]] = word
        self._count = count
        return number[owner], places

    @property
    def _wrap(self) -> int:
        return (1 << self._bits) - 1

    def _place(self, first: Array) -> Array:
        """The slot where the search for a key begins: the upper bits of its first hash."""
        return (first >> np.uint64(64 - self._bits)).astype(np.int64)

    def _settle(self, slot: Array, first: Array, second: Array) -> Array:
        """Give every distinct key a slot: int64 (n,), where each key appears first.

        `slot` is moved along to where each key ended. Until its number is written, a slot that
        was taken holds the place of the key that took it, below the bit of an open one.
        """
        owner = np.empty(len(first), dtype=np.int64)
        todo = np.arange(len(first))
        while len(todo):
            at = slot[todo]
            free = self._slots.take(at) == _EMPTY
            taking = todo[free][::-1]  # of equal slots the last written stays: the first place
            self._slots[slot[taking]] = taking.astype(np.uint64) | _OPEN
            held = self._slots.take(at)
            fresh = np.flatnonzero(held & _OPEN)
            mine, other = todo[fresh], (held[fresh] & _NUMBER).astype(np.int64)
            same = np.zeros(len(todo), dtype=bool)
            same[fresh] = (first[mine] == first[other]) & (second[mine] == second[other])
            owner[mine[same[fresh]]] = other[same[fresh]]
            todo = todo[~same]
            slot[todo] = (slot[todo] + 1) & self._wrap
        return owner

    def _make_room(self, count: int) -> None:
        """Keep half of the slots free, however many of `count` keys are new."""
        bits = self._bits
        while 1 << bits < 2 * count:
            bits += 2  # so that a key is moved a third of a time, and not a whole one
        if bits == self._bits:
            return
        self._bits = bits
        self._slots = np.full(1 << bits, _EMPTY)
        first = self._first[: self._count]
        for start in range(0, self._count, _MOVED):
            part = slice(start, min(start + _MOVED, self._count))
            number = np.arange(part.start, part.stop)
            slot, todo = self._place(first[part]), np.arange(len(number))
            word = ((first[part] << np.uint64(32)) & _MARK) | number.astype(np.uint64)
            while len(todo):
                at = slot[todo]
                free = todo[self._slots.take(at) == _EMPTY]
                self._slots[slot[free]] = word[free]
                todo = todo[self._slots.take(at) != word[todo]]
                slot[todo] = (slot[todo] + 1) & self._wrap


def _longer(array: Array, length: int) -> Array:
    """The array, or a copy with room to spare; what is beyond the old values is undefined."""
    if length <= len(array):
        return array
    grown = np.empty(max(length, 2 * len(array)), dtype=array.dtype)
    grown[: len(array)] = array
    return grown
