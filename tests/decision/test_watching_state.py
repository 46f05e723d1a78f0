"""Hashes of products that were seen, in a few sorted arrays."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.decision import watching_state


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=8))
@settings(max_examples=50, deadline=None)
def test_seen_hashes_are_those_of_a_set(parts):
    seen, known = watching_state.Seen(np.empty(0, np.uint64)), set()
    for part in parts:
        expected = []
        for value in part:
            expected.append(value not in known)
            known.add(value)
        assert seen.add(np.array(part, np.uint64)).tolist() == expected
    assert seen.all().tolist() == sorted(known)
    assert seen.has(np.arange(41, dtype=np.uint64)).tolist() == [value in known for value in range(41)]
