"""Hash tables for compiled kernels: integer keys, or pairs of integer keys, with a value each.

A table is a few arrays of equal length, a power of two; one index of these arrays is a slot:

1. A key has a slot where its search begins, from its bits multiplied and shifted.
2. From there the search goes to the next slot, and from the last slot to slot 0, until it meets the key or a free
   slot.
3. Before more than half of the slots are taken, `doubled` or `doubled_pairs` makes a table of twice the length.

A slot is free if its key is 0, or the second key of its pair is 0. So callers store no such key. Nothing is ever
removed. The order of the slots means nothing: it depends on the bits of the keys and on the length.
"""

from typing import Any

import numpy as np

from fgnet_pipeline.kernels.compiled import njit

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio, odd: Knuth's multiplicative hashing


@njit
def find(keys: Any, key: Any) -> Any:
    """Find the slot of a key.

    Args:
        keys: integers (slots,) of 64 bits, 0 = free.
        key: not 0, of the same dtype.

    Returns:
        int64: the slot that holds the key, or the free slot in which to store it.
    """
    mask = np.uint64(len(keys) - 1)
    mixed = np.uint64(key) * _MIX
    slot = (mixed ^ (mixed >> np.uint64(32))) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@njit
def find_pair(table: Any, first: Any, second: Any) -> Any:
    """Find the slot of a pair of keys.

    Args:
        table: uint64 (slots, 3): first key, second key (0 = free) and value of each slot.
        first: uint64.
        second: uint64, not 0.

    Returns:
        int64: the slot that holds the pair, or the free slot in which to store it.
    """
    mask = np.uint64(len(table) - 1)
    mixed = ((first * _MIX) ^ second) * _MIX
    slot = (mixed ^ (mixed >> np.uint64(32))) & mask
    while table[slot, 1] != 0 and (table[slot, 1] != second or table[slot, 0] != first):
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@njit
def doubled(keys: Any, values: Any) -> Any:
    """Copy a table of keys into one of twice the length.

    Args:
        keys: integers (slots,) of 64 bits, 0 = free.
        values: (slots,), of any dtype.

    Returns:
        The same two arrays with twice the slots; values of free slots are 0.
    """
    more_keys, more_values = np.zeros(2 * len(keys), keys.dtype), np.zeros(2 * len(keys), values.dtype)
    for old in range(len(keys)):
        if keys[old] != 0:
            slot = find(more_keys, keys[old])
            more_keys[slot], more_values[slot] = keys[old], values[old]
    return more_keys, more_values


@njit
def doubled_pairs(table: Any) -> Any:
    """Copy a table of pairs into one of twice the length.

    Args:
        table: as in `find_pair`.

    Returns:
        uint64 (2 * slots, 3); values of free slots are 0.
    """
    more = np.zeros((2 * len(table), 3), np.uint64)
    for old in range(len(table)):
        if table[old, 1] != 0:
            slot = find_pair(more, table[old, 0], table[old, 1])
            more[slot, 0], more[slot, 1], more[slot, 2] = table[old, 0], table[old, 1], table[old, 2]
    return more
