"""The picture of a graph, and what is counted in one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bacnode.pages import graph_layout, text
from bacnode.pages.graph_layout import HEIGHT, MARGIN, WIDTH, draw
from bacnode.pages.module_graph import around, reachable, sharing, users_of

CONTROLS = {chr(code) for code in (*range(32), *range(127, 160))} - {"\n", "\t"} | {"\u202e", "\u2066", "\u200b"}

Edges = dict[str, list[str]]


@st.composite
def graphs(draw_: st.DrawFn, *, circles: bool) -> Edges:
    count = draw_(st.integers(0, 30))
    names = [f"m{number:02}" for number in range(count)]
    return {
        name: draw_(st.lists(st.sampled_from(names if circles else names[at + 1 :]), max_size=4, unique=True))
        if circles or at + 1 < count
        else []
        for at, name in enumerate(names)
    }


@given(graphs(circles=True))
def test_no_two_boxes_meet_and_all_are_inside(edges: Edges) -> None:
    picture = draw(edges)
    assert sorted(box.cid for box in picture.boxes) == sorted(edges)
    for box in picture.boxes:
        assert MARGIN <= box.x <= picture.width - WIDTH - MARGIN
        assert MARGIN <= box.y <= picture.height - HEIGHT - MARGIN + 1
    columns: dict[float, list[float]] = {}
    for box in picture.boxes:
        columns.setdefault(box.x, []).append(box.y)
    assert all(b - a >= WIDTH for a, b in pairwise(sorted(columns)))
    assert all(b - a >= HEIGHT for rows in columns.values() for a, b in pairwise(sorted(rows)))
    expected = {(user, other) for user, others in edges.items() for other in others if other != user}
    assert {(line.user, line.provider) for line in picture.lines} == expected


@given(graphs(circles=False))
def test_providers_stand_to_the_right_of_their_users(edges: Edges) -> None:
    x = {box.cid: box.x for box in draw(edges).boxes}
    assert all(x[user] < x[other] for user, others in edges.items() for other in others)
    programs = [cid for cid, users in users_of(edges).items() if not users]
    assert all(x[cid] <= min(x.values()) for cid in programs)


def test_the_same_graph_gives_the_same_picture_whatever_its_order() -> None:
    edges = {"a": ["c", "b"], "b": ["d"], "c": ["d"], "d": []}
    assert draw(edges) == draw({cid: list(reversed(edges[cid])) for cid in reversed(edges)})


def test_many_programs_are_several_columns() -> None:
    edges: Edges = {f"p{number:03}": ["shared"] for number in range(150)} | {"shared": []}
    picture = draw(edges)
    assert len({box.x for box in picture.boxes}) == 4
    assert picture.height <= graph_layout.MAX_ROWS * (HEIGHT + graph_layout.ROW_GAP) + 2 * MARGIN


@given(graphs(circles=True))
def test_what_is_saved_is_never_less_than_nothing(edges: Edges) -> None:
    sizes = {cid: at + 1 for at, cid in enumerate(edges)}
    found = sharing(edges, sizes)
    assert found.saved_bytes >= 0 and 0 <= found.saved_percent <= 100
    assert found.together_bytes <= sum(sizes.values())


def test_sharing_counts_what_each_program_needs_once() -> None:
    edges = {"p": ["a", "b"], "q": ["b"], "a": ["c"], "b": ["c"], "c": []}
    found = sharing(edges, {"p": 1, "q": 2, "a": 10, "b": 20, "c": 100})
    assert (found.programs, found.apart_bytes, found.together_bytes) == (2, (1 + 10 + 20 + 100) + (2 + 20 + 100), 133)


@given(graphs(circles=True), st.data())
def test_around_a_module_is_what_it_needs_and_what_needs_it(edges: Edges, data: st.DataObject) -> None:
    if not edges:
        return
    cid = data.draw(st.sampled_from(sorted(edges)))
    part = around(cid, edges)
    assert set(part) == reachable([cid], edges) | reachable([cid], users_of(edges))
    assert all(other in edges[user] and other in part for user, others in part.items() for other in others)


def test_words_for_sizes_and_times() -> None:
    assert [text.size(n) for n in (None, 0, 999, 1000, 999_949, 999_951, 5_000_000_000_000)] == [
        "not told", "0 B", "999 B", "1.0 KB", "999.9 KB", "1.0 MB", "5000.0 GB",
    ]  # fmt: skip
    assert [text.duration(s) for s in (None, 0.0, 0.0423, 59.94, 61.0, 7260.0)] == [
        "", "0 ms", "42 ms", "59.9 s", "1 min 1 s", "2 h 1 min",
    ]  # fmt: skip
    assert text.fitted("a-rather-long-name-7.wasm", 15) == "a-rathe…-7.wasm"


@given(st.binary(max_size=200))
def test_what_is_printed_holds_no_control_characters(data: bytes) -> None:
    shown = text.printed(data)
    assert not set(shown) & CONTROLS


@given(st.text(max_size=300))
def test_names_are_short_and_plain(given_name: str) -> None:
    assert len(text.name(given_name)) <= text.MAX_NAME
    assert not set(text.name(given_name)) & (CONTROLS | {"\n", "\t"})
