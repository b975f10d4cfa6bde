import time

import pytest

from birdlib.species import time_budget


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def run(clock, configs, seconds_of, n_files, budget_min, **options):
    """Predict one-minute files on a machine that needs ``seconds_of(config)`` for each: the description of each, and the budget."""
    budget = time_budget.TimeBudget(configs, n_files, budget_min, now=clock, **options)
    used = []
    for _ in range(n_files):
        if not budget.has_time_for(1.0):
            budget.skip(1.0)
            used.append("the prior")
            continue
        used.append(budget.config.description)
        seconds = seconds_of(budget.config)
        clock.seconds += seconds
        budget.add(seconds, 1.0)
    return used, budget


def seconds_of(config):
    """Two seconds for each member, twice that with shifts, and three for denoising."""
    return 2.0 * len(config.members) * (2 if config.shifts_s else 1) + 3.0 * config.denoise


CONFIGS = time_budget.plan({"fast": "the fast one", "slow": "the slow one"}, hop_s=2.5, shifts_s=(-1.25, 1.25), denoise=True)  # 11, 7, 4 and 2 s


def test_the_plan_drops_shifts_then_denoising_then_the_slowest_member():
    assert [(config.hop_s, len(config.shifts_s), config.denoise, config.members) for config in CONFIGS] == [
        (2.5, 2, True, ("fast", "slow")),
        (0.0, 0, True, ("fast", "slow")),
        (0.0, 0, False, ("fast", "slow")),
        (0.0, 0, False, ("fast",)),
    ]
    assert [config.description for config in CONFIGS[1:]] == [
        "no test-time shifts, no overlap",
        "no denoising, though the classifier was trained on denoised sound",
        "without the slow one",
    ]
    assert len(time_budget.plan({"one": "one"})) == 1  # nothing to drop


def test_a_fast_machine_drops_nothing():
    used, budget = run(Clock(), CONFIGS, lambda config: seconds_of(config) / 10, 700, 90)
    assert set(used) == {"everything"} and budget.steps() == []


@pytest.mark.parametrize(("slower", "last"), [(0.7, 1), (1.0, 2), (2.0, 3)])
def test_a_slow_machine_drops_only_what_exceeds_the_budget(slower, last):
    """700 files in 90 minutes, of which 81 are used: 6.9 s a file. 11 s must go to 7 × .7 = 4.9, to 4 or to 2 × 2 = 4 s."""
    clock = Clock()
    used, budget = run(clock, CONFIGS, lambda config: slower * seconds_of(config), 700, 90)
    assert used[-1] == CONFIGS[last].description and budget.step == last
    assert clock.seconds - 1000 < 90 * 60 and "the prior" not in used
    assert budget.steps()[0].startswith("no test-time shifts, no overlap: after 1 files")


def test_files_beyond_the_budget_get_the_prior():
    """20 s a file with the cheapest config: of 700, some 240 are predicted in 81 minutes."""
    clock = Clock()
    used, budget = run(clock, CONFIGS, lambda config: 10.0 * seconds_of(config), 700, 90)
    assert 200 < 700 - used.count("the prior") < 244 and clock.seconds - 1000 <= 81 * 60
    assert budget.steps()[-1] == f"the prior: {used.count('the prior')} files for which there was no time"


def test_the_projection_follows_recent_files():
    """1 s a file at first and 10 from file 100 on: projected from recent files, not from all."""
    clock = Clock()
    n = iter(range(10_000))
    used, budget = run(clock, CONFIGS, lambda config: (1.0 if next(n) < 100 else 10.0) * seconds_of(config) / 11, 700, 90)
    assert used[99] == "everything" and used[-1] != "everything" and clock.seconds - 1000 < 90 * 60


def test_one_slow_file_drops_nothing():
    n = iter(range(10_000))
    used, _ = run(Clock(), CONFIGS, lambda config: 300.0 if next(n) == 50 else 1.0, 700, 90)
    assert set(used) == {"everything"}


def test_time_before_the_run_counts_towards_the_budget():
    """80 of 90 minutes went by: 60 files of 2 s each would end at 82, behind the 81 that may be used."""
    clock = Clock()
    _, budget = run(clock, CONFIGS, lambda config: 2.0, 60, 90, spent_s=80 * 60)
    assert budget.step > 0
    used, budget = run(Clock(), CONFIGS, seconds_of, 5, 90, spent_s=90 * 60)
    assert used == ["the prior"] * 5


def test_an_expected_cost_counts_before_the_first_file():
    budget = time_budget.TimeBudget(CONFIGS, 700, 90, now=Clock())
    budget.expect(11.0, 1.0)
    assert budget.step == 1 and budget.minutes == 700 and budget.describe() == "0.0 of 90 minutes are spent"


def test_with_a_single_config_or_no_time_files_get_the_prior():
    used, budget = run(Clock(), time_budget.plan({"one": "one"}), lambda config: 60.0, 10, 5)
    assert budget.step == 0 and used.count("the prior") == 6  # a minute each; 4.5 minutes are used, 4 files end in them
    assert run(Clock(), CONFIGS, seconds_of, 3, 0)[0] == ["the prior"] * 3


def test_process_time_counts_only_in_a_kaggle_batch_session(monkeypatch):
    """The life of a process counts on Kaggle, when it runs a notebook from its start, and nowhere else."""
    since_s = time.monotonic() - 0.01
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert 0.01 <= time_budget.spent_s(since_s) < 0.1
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    assert time_budget.spent_s(since_s) > 0.1
