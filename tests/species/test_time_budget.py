import time

import pytest

from birdlib.species import time_budget


class Clock:
    """Time goes on when it is told to."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def run(clock, ways, seconds_of, n_files, budget_min, **options):
    """Hear one-minute files on a machine that needs ``seconds_of(way)`` for each; what each was heard by, and the deadline."""
    limit = time_budget.Deadline(ways, n_files, budget_min, now=clock, **options)
    heard = []
    for _ in range(n_files):
        if not limit.has_time_for(1.0):
            limit.left_out(1.0)
            heard.append("the prior")
            continue
        heard.append(limit.way.what)
        seconds = seconds_of(limit.way)
        clock.seconds += seconds
        limit.heard(seconds, 1.0)
    return heard, limit


def seconds_of(way):
    """Two seconds for each member, twice that with shifts, and three for denoising."""
    return 2.0 * len(way.members) * (2 if way.shifts_s else 1) + 3.0 * way.denoise


WAYS = time_budget.plan({"fast": "the fast one", "slow": "the slow one"}, hop_s=2.5, shifts_s=(-1.25, 1.25), denoise=True)  # 11, 7, 4 and 2 s


def test_shifts_go_first_then_denoising_then_the_slowest_member():
    assert [(way.hop_s, len(way.shifts_s), way.denoise, way.members) for way in WAYS] == [
        (2.5, 2, True, ("fast", "slow")),
        (0.0, 0, True, ("fast", "slow")),
        (0.0, 0, False, ("fast", "slow")),
        (0.0, 0, False, ("fast",)),
    ]
    assert [way.what for way in WAYS[1:]] == [
        "no test-time shifts, no overlap",
        "no denoising, though the classifier learnt from denoised sound",
        "without the slow one",
    ]
    assert len(time_budget.plan({"one": "one"})) == 1  # nothing to leave away


def test_a_fast_machine_leaves_nothing_away():
    heard, limit = run(Clock(), WAYS, lambda way: seconds_of(way) / 10, 700, 90)
    assert set(heard) == {"everything"} and limit.steps() == []


@pytest.mark.parametrize(("slower", "last"), [(0.7, 1), (1.0, 2), (2.0, 3)])
def test_a_slow_machine_is_in_time_with_as_much_as_it_can(slower, last):
    """700 files in 90 minutes, of which 81 are used: 6.9 s a file. 11 s must go to 7 × .7 = 4.9, to 4 or to 2 × 2 = 4 s."""
    clock = Clock()
    heard, limit = run(clock, WAYS, lambda way: slower * seconds_of(way), 700, 90)
    assert heard[-1] == WAYS[last].what and limit.step == last
    assert clock.seconds - 1000 < 90 * 60 and "the prior" not in heard
    assert limit.steps()[0].startswith("no test-time shifts, no overlap: after 1 files")


def test_what_a_hopeless_machine_has_no_time_for_gets_the_prior():
    """20 s a file in the cheapest way: of 700, some 240 are heard in 81 minutes."""
    clock = Clock()
    heard, limit = run(clock, WAYS, lambda way: 10.0 * seconds_of(way), 700, 90)
    assert 200 < 700 - heard.count("the prior") < 244 and clock.seconds - 1000 <= 81 * 60
    assert limit.steps()[-1] == f"the prior: {heard.count('the prior')} files for which there was no time"


def test_a_machine_that_slows_down_is_noticed():
    """1 s a file at first and 10 from file 100 on: projected from recent files, not from all."""
    clock = Clock()
    n = iter(range(10_000))
    heard, limit = run(clock, WAYS, lambda way: (1.0 if next(n) < 100 else 10.0) * seconds_of(way) / 11, 700, 90)
    assert heard[99] == "everything" and heard[-1] != "everything" and clock.seconds - 1000 < 90 * 60


def test_one_file_that_takes_long_changes_nothing():
    n = iter(range(10_000))
    heard, _ = run(Clock(), WAYS, lambda way: 300.0 if next(n) == 50 else 1.0, 700, 90)
    assert set(heard) == {"everything"}


def test_time_before_the_run_counts():
    """80 of 90 minutes went by: 60 files of 2 s each would end at 82, behind the 81 that may be used."""
    clock = Clock()
    _, limit = run(clock, WAYS, lambda way: 2.0, 60, 90, spent_s=80 * 60)
    assert limit.step > 0
    heard, limit = run(Clock(), WAYS, seconds_of, 5, 90, spent_s=90 * 60)
    assert heard == ["the prior"] * 5


def test_a_first_look_counts_before_any_file_is_heard():
    limit = time_budget.Deadline(WAYS, 700, 90, now=Clock())
    limit.expect(11.0, 1.0)
    assert limit.step == 1 and limit.minutes == 700 and limit.sentence() == "0.0 of 90 minutes are spent"


def test_no_more_steps_than_there_are_and_no_time_at_all():
    heard, limit = run(Clock(), time_budget.plan({"one": "one"}), lambda way: 60.0, 10, 5)
    assert limit.step == 0 and heard.count("the prior") == 6  # a minute each; 4.5 minutes are used, 4 files end in them
    assert run(Clock(), WAYS, seconds_of, 3, 0)[0] == ["the prior"] * 3


def test_an_open_notebook_may_wait_for_its_reader(monkeypatch):
    """The life of a process counts on Kaggle, when it runs a notebook from its start, and nowhere else."""
    since_s = time.monotonic() - 0.01
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert 0.01 <= time_budget.spent_s(since_s) < 0.1
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    assert time_budget.spent_s(since_s) > 0.1
