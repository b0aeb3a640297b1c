"""No change of a finished split passes the proof that does harm, and none makes it take long: a score of the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mutation.attacks import ATTACKS
from mutation.attacks.crafted import CRAFTED, Crafted
from mutation.campaign import Campaign, forget, is_valid
from mutation.judge import Judge
from mutation.oracles.behaviour import Calls, differences
from mutation.places import CHANGES, manifest
from mutation.release import Release
from mutation.subjects import QUICK
from soak import SCORE

#: How many changes in a normal run, of programs that are made in a moment; and in each part of a long one.
_FEW, _MANY, _PARTS = 100, 700, 8
CAMPAIGNS = [
    pytest.param(Campaign(0, QUICK), range(_FEW), id="a few"),
    *(
        pytest.param(
            Campaign(1),
            range(part * _MANY, (part + 1) * _MANY),
            id=f"part {part}",
            marks=[pytest.mark.soak, pytest.mark.long],
        )
        for part in range(_PARTS)
    ),
]


@pytest.mark.parametrize(("campaign", "numbers"), CAMPAIGNS)
def test_changes_are_refused_or_harmless(
    campaign: Campaign, numbers: range, record_property: Callable[[str, object], None]
) -> None:
    score = campaign.run(numbers)
    record_property(SCORE, score.counts)
    assert not score.findings, "\n\n".join(map(str, score.findings))
    assert score.tried > 0.9 * len(numbers)
    assert score.refused > 0.3 * score.tried


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    forget()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as judge:
        yield judge


@pytest.mark.parametrize("crafted", CRAFTED.values(), ids=CRAFTED)
def test_a_release_of_an_enemy_does_no_harm(judge: Judge, crafted: Crafted) -> None:
    release = crafted.release()
    assert is_valid(release, Release(b"", b"")), "the test itself is wrong"
    verdict = judge.split(release.blob, release.remainder, release.modules)
    assert verdict.answer in ("accepted", "refused"), verdict.message
    if verdict.answer == "accepted":
        inputs = Calls(crafted.calls)
        assert [*differences(release, inputs, inputs.observe(release.blob, {}))] == []


@pytest.mark.parametrize("name", [*CHANGES, *ATTACKS])
def test_every_kind_of_change_finds_something_to_change(name: str) -> None:
    campaign = Campaign(0, ["written"], name)
    found = (changed for number in range(200) if (changed := campaign.change(number)))
    assert any(changed.release != changed.subject.release for changed in found), name


@pytest.mark.parametrize("name", manifest.CHANGES)
def test_every_kind_of_change_of_files_changes_some(name: str) -> None:
    campaign = Campaign(0, ["folders"], name)
    assert any(campaign.change(number) for number in range(10))
