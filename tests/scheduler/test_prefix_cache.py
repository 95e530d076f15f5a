"""What several KV groups find in the prefix cache and keep in it; cached blocks are drawn as strings, `#` is cached."""

from __future__ import annotations

import pytest

from simulator.scheduler.block_tables import NULL
from simulator.scheduler.config import KvGroupConfig
from simulator.scheduler.prefix_cache import is_kept, kinds_of, longest_hit, resume_points

FULL, WINDOW, CHUNK, STATE = (KvGroupConfig("full", 4), KvGroupConfig("window", 4, 8), KvGroupConfig("chunk", 4, 16),
                              KvGroupConfig("state", 4))


def find(groups, *cached, known=33, unit=4, drops_last=False):
    """Tokens, junction and tables; block j of group g has number 100 g + j."""
    kinds = kinds_of(groups)

    def blocks(kind, position):
        members = kinds[kind][1]
        present = all(position < len(cached[m]) and cached[m][position] == "#" for m in members)
        return [100 * m + position for m in members] if present else None

    hit = longest_hit(kinds, blocks, known, unit, drops_last)
    return hit.tokens, hit.junction, [[None if b == NULL else b for b in table] for table in hit.tables]


def test_a_full_group_takes_the_run_from_the_start_and_leaves_a_token():
    assert find((FULL,), "##.#") == (8, 0, [[0, 1]])
    assert find((FULL,), "########", known=32)[0] == 28
    assert find((FULL,), "########", known=33)[0] == 32


def test_a_window_needs_its_last_blocks_only():
    # 8 tokens reach over ceil(7 / 4) = 2 blocks
    assert find((WINDOW,), "..##..#.") == (16, 0, [[None, None, 2, 3]])
    assert find((WINDOW,), "#...#.#.") == (4, 0, [[0]])  # no two in a row: the run from the start
    assert find((WINDOW,), "...#.#..") == (0, 0, [[]])


def test_the_shortest_of_two_kinds_counts_and_the_longest_is_remembered():
    assert find((FULL, WINDOW), "######..", ".##.....") == (12, 24, [[0, 1, 2], [None, 101, 102]])
    assert find((WINDOW, FULL), ".##.....", "#######.") == (12, 28, [[None, 1, 2], [100, 101, 102]])


def test_groups_of_a_kind_are_looked_up_together():
    assert find((FULL, WINDOW, WINDOW), "######..", "..####..", "..##....") == (
        16, 24, [[0, 1, 2, 3], [None, None, 102, 103], [None, None, 202, 203]])


def test_kinds_shorten_each_other_until_nothing_changes():
    # full 24, the wide window (5 blocks) 20, the narrow one 8 for its run; there the wide one has two blocks from the start
    wide = KvGroupConfig("window", 4, 20)
    assert find((FULL, wide, WINDOW), "######..", "#####...", "##......")[:2] == (8, 24)


def test_a_chunk_counts_what_lies_before_it_as_present():
    # 33 known: the chunk begins at 32 and needs nothing; 24 known: at 16, block 4 is there
    assert find((CHUNK,), "........") == (32, 0, [[None] * 8])
    assert find((CHUNK,), "....#...", known=24) == (20, 0, [[None] * 4 + [4]])


def test_a_state_needs_its_last_block_only():
    assert find((FULL, STATE), "#######.", "..#..#..") == (24, 28, [[0, 1, 2, 3, 4, 5], [None] * 5 + [105]])


def test_a_hit_is_a_multiple_of_all_block_sizes():
    large = KvGroupConfig("full", 8)
    assert find((large, WINDOW), "###", "..###..", unit=8)[0] == 16  # of positions 2 to 4 those that end at 16
    assert find((FULL, KvGroupConfig("window", 8, 9)), "#####...", "#...", unit=8)[:2] == (8, 16)


def test_a_drafter_drops_the_last_block():
    assert find((FULL,), "####....", drops_last=True)[0] == 12
    assert find((FULL,), "#.......", drops_last=True)[0] == 0
    # one group looks at 31 of 32 known tokens, several at all of them before they drop one
    assert find((FULL,), "########", known=32, drops_last=True)[0] == 24
    assert find((FULL, WINDOW), "########", "########", known=32, drops_last=True)[0] == 28
    # the window looks one block beyond the 12 that the full group has left, and needs three in a row
    assert find((FULL, WINDOW), "####....", ".###....", drops_last=True) == (12, 0, [[0, 1, 2], [None, 101, 102]])
    assert find((FULL, WINDOW), "####....", "..##....", drops_last=True)[:2] == (0, 12)


def test_a_run_from_the_start_is_cut_to_all_block_sizes_before_and_after_the_drop():
    # three blocks of 4 are 8 tokens in units of 8, less one block 4: nothing
    assert find((KvGroupConfig("full", 8), KvGroupConfig("window", 4, 20)), "##..", "###.....", unit=8, drops_last=True)[0] == 0


@pytest.mark.parametrize(("group", "interval", "drops_last", "kept"), [
    (FULL, 0, False, "##########"),
    (CHUNK, 0, False, "##########"),
    (WINDOW, 0, False, "...##....."),  # 21 prompt tokens: the two blocks before 20
    (STATE, 0, False, "....#....."),
    (WINDOW, 16, False, "..###.##.."),  # and the two before 16 and 32
    (STATE, 16, False, "...##..#.."),
    (WINDOW, 4, False, "##########"),
    (WINDOW, 0, True, "..###....."),  # 21 // 4 * 4 - 4 = 16: two blocks before and one after
    (WINDOW, 16, True, "..###.###."),  # of the multiples of 16, too
])  # fmt: skip
def test_what_a_prompt_of_21_tokens_leaves_for_later(group, interval, drops_last, kept):
    points = resume_points(21, 0, 4, drops_last)
    assert "".join("#" if is_kept(group, p, points, interval, drops_last) else "." for p in range(10)) == kept


def test_points_to_resume_from():
    assert resume_points(21, 0, 4, False) == [20]
    assert resume_points(20, 8, 4, False) == [16, 8]  # the last token is always computed
    assert resume_points(20, 8, 4, True) == [12, 16, 8]  # the same prompt again, a longer one
    assert resume_points(3, 0, 4, True) == [0, 0]
