"""The page of an analysis in a headless Chromium: it asks for nothing, plays, sorts, can be used by keyboard and on a phone."""

import browser
import made_analyses as made
import pandas as pd
import pytest
from made_analyses import detection, file

from birdlib.reports import analysis_page

pytestmark = pytest.mark.slow
NAMES = {"robin": "European Robin", "wren": "Eurasian Wren", "owl": "Tawny Owl"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Path of the page of a recording of 8 s and one of 150 s, at two sites and hours."""
    folder = tmp_path_factory.mktemp("analysis")
    short, long = made.recording(folder / "dawn chorus in the wood.wav", 8.0), made.recording(folder / "night.wav", 150.0)
    times = {short: pd.Timestamp("2025-05-03 05:10"), long: pd.Timestamp("2025-05-03 23:00")}
    spans = [(short, 1.0, 2.0, "robin"), (short, 3.0, 4.0, "robin"), (short, 5.0, 6.0, "wren"), (long, 3.0, 5.0, "owl"), (long, 121.0, 123.0, "robin")]
    rows = [
        detection(path, start_s, end_s, species, common_name=NAMES[species], confidence=0.5 + start_s / 300, recorded_at=times[path] + pd.Timedelta(seconds=start_s))
        for path, start_s, end_s, species in spans
    ]
    files = [file(short, 8.0, site="wood", recorded_at=times[short]), file(long, 150.0, site="pond", recorded_at=times[long])]
    return analysis_page.write(made.write(folder / "analysis", files, rows), progress=False)


@pytest.fixture(scope="module")
def chromium():
    with browser.launch() as launched:
        yield launched


@pytest.fixture(scope="module")
def visit(chromium, report):
    with browser.visit(chromium, report) as visit:
        yield visit


@pytest.fixture
def page(visit):
    """The page with all sounds stopped, and without an error when the test has ended."""
    visit.page.evaluate("document.querySelectorAll('audio').forEach((audio) => audio.pause())")
    yield visit.page
    assert not visit.problems and not visit.requests


def audio(page, player):
    return page.evaluate(
        "(id) => { const a = document.getElementById(id).querySelector('audio'); return {time: a.currentTime, paused: a.paused, length: a.duration}; }", player
    )


def wait_for(page, player, condition):
    page.wait_for_function(f"(id) => {{ const a = document.getElementById(id).querySelector('audio'); return {condition}; }}", arg=player, timeout=30_000)  # sound begins late on a busy machine


def test_the_page_opens_without_a_request_or_an_error(visit):
    assert visit.page.title() == "Birds in 2 recordings"
    assert not visit.requests and not visit.problems


def test_species_are_sorted_and_filtered(page):
    page.click("#tab-species")
    names = page.locator("#species tbody tr:visible td:nth-child(2)")
    assert names.all_inner_texts()[0] == "European Robin"
    page.click("#species th:has-text('species') button")
    assert names.all_inner_texts() == ["Eurasian Wren", "European Robin", "Tawny Owl"]
    page.fill("#species input", "owl")
    assert names.all_inner_texts() == ["Tawny Owl"]
    page.fill("#species input", "")


def test_the_button_of_a_species_plays_its_best_detection(page):
    page.click("#tab-species")
    button = page.locator("#species tr", has_text="Tawny Owl").locator("button.play")
    button.click()
    player = button.get_attribute("data-player")
    wait_for(page, player, "a.currentTime > 1.1 && !a.paused")  # the detection begins one second after the part
    assert button.get_attribute("aria-pressed") == "true" and page.locator("#species").is_visible()
    button.click()
    assert audio(page, player)["paused"]
    page.wait_for_function("(button) => button.getAttribute('aria-pressed') === 'false'", arg=button.element_handle())


def test_a_detection_is_played_to_its_end(page):
    page.goto(page.url.partition("#")[0] + "#recording-1")
    name = page.locator("#recording-1 .player-name", has_text="European Robin").first
    name.click()
    wait_for(page, "recording-1-0", "a.currentTime > 1.05")
    assert "is-active" in name.get_attribute("class")
    wait_for(page, "recording-1-0", "a.paused")
    assert audio(page, "recording-1-0")["time"] == pytest.approx(2.0, abs=0.2)


def test_a_click_on_the_spectrogram_seeks(page):
    page.goto(page.url.partition("#")[0] + "#recording-1")
    picture = page.locator("#recording-1-0 .player-picture")
    edge = picture.bounding_box()
    picture.click(position={"x": 0.95 * edge["width"], "y": 5})
    wait_for(page, "recording-1-0", "a.currentTime >= 7.4")
    cursor = page.locator("#recording-1-0 .player-cursor").bounding_box()
    assert cursor["x"] - edge["x"] == pytest.approx(0.95 * edge["width"], abs=0.06 * edge["width"])


def test_keys_play_pause_and_move(page):
    page.goto(page.url.partition("#")[0] + "#recording-1")
    page.focus("#recording-1-0 .player-scroll")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#recording-1-0 .player-time") == "0:01.0"
    page.keyboard.press(" ")
    wait_for(page, "recording-1-0", "a.currentTime > 1.1")
    page.keyboard.press(" ")
    assert audio(page, "recording-1-0")["paused"]


def test_a_detection_is_played_by_enter(page):
    page.goto(page.url.partition("#")[0] + "#recording-1")
    page.focus("#recording-1-0 .player-name:has-text('Eurasian Wren')")
    page.keyboard.press("Enter")
    wait_for(page, "recording-1-0", "a.currentTime > 5.05 && !a.paused")


def test_half_speed(page):
    page.goto(page.url.partition("#")[0] + "#recording-1")
    page.click("#recording-1-0 .player-slow")
    assert page.evaluate("document.querySelector('#recording-1-0 audio').playbackRate") == 0.5
    page.click("#recording-1-0 .player-slow")
    assert page.evaluate("document.querySelector('#recording-1-0 audio').playbackRate") == 1


def test_a_box_and_its_name_are_marked_together(page):
    page.goto(page.url.partition("#")[0] + "#recording-1")
    page.hover("#recording-1-0 .player-box >> nth=2")
    assert "is-active" in page.locator("#recording-1-0 .player-name >> nth=2").get_attribute("class")
    page.hover("#recording-1 > summary")
    assert "is-active" not in page.locator("#recording-1-0 .player-name >> nth=2").get_attribute("class")


def test_only_one_sound_plays(page):
    page.goto(page.url.partition("#")[0] + "#recording-1")
    page.click("#recording-1-0 .player-play")
    wait_for(page, "recording-1-0", "a.currentTime > 0 && !a.paused")
    page.click("#tab-examples")
    page.click("#example-0 .player-play")
    wait_for(page, "example-0", "!a.paused")
    assert audio(page, "recording-1-0")["paused"]


def test_the_timeline_of_a_long_recording_plays_the_part_under_the_pointer(page):
    page.goto(page.url.partition("#")[0] + "#recording-2")
    assert page.locator("#recording-2").get_attribute("open") is not None
    players = page.locator("#recording-2 .player")
    assert [players.nth(i).is_visible() for i in range(2)] == [True, False]
    line = page.locator("#recording-2 .timeline")
    line.click(position={"x": 122.0 / 150.0 * line.bounding_box()["width"], "y": 25})
    second = players.nth(1).get_attribute("id")
    wait_for(page, second, "!a.paused && a.currentTime > 2.0")  # the part begins at 119.5 s
    assert [players.nth(i).is_visible() for i in range(2)] == [False, True]
    page.click("#recording-2 .player-pager button >> nth=0")
    assert players.nth(0).is_visible() and audio(page, second)["paused"]


def test_a_link_of_the_table_opens_its_recording(page):
    page.goto(page.url.partition("#")[0] + "#recordings")
    page.evaluate("document.querySelectorAll('details.recording').forEach((details) => { details.open = false; })")
    page.click("#recordings td a:has-text('night.wav')")
    page.wait_for_function("document.getElementById('recording-2').open")


def test_cells_of_the_activity_say_what_they_are(page):
    page.click("#tab-activity")
    cell = page.locator("#activity td[title^='European Robin, 05']")
    assert "2 detections, 25 % of the recorded time, 8.0 s" in cell.get_attribute("title") and cell.inner_text() == "25"


def test_words_in_the_head_of_a_table_are_not_broken(chromium, report):
    lines = """[...document.querySelectorAll('#species thead th')].map((th) => (th.querySelector('button') || th).firstChild)
        .filter((text) => !text.data.trim().includes(' ')).map((text) => { const range = document.createRange(); range.selectNodeContents(text); return range.getClientRects().length; })"""
    with browser.visit(chromium, report, width=500, height=800, dark=False) as visit:
        n_lines = visit.page.evaluate(lines)
    assert len(n_lines) >= 4 and set(n_lines) == {1}


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(chromium, report, dark):
    with browser.visit(chromium, report, width=400, height=800, dark=dark) as visit:
        for tab in visit.page.locator(".tabs a").all():
            tab.click()
            assert browser.overflow_px(visit.page) == 0, tab.inner_text()
        visit.page.goto(report.as_uri() + "#recording-1")
        inverted = visit.page.evaluate("getComputedStyle(document.querySelector('.player-picture img')).filter")
        assert inverted == ("invert(1)" if dark else "none")
        assert not visit.problems


def test_without_scripts_everything_is_there_and_the_browser_plays(chromium, report):
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(report.as_uri())
    for name in ("species", "activity", "examples", "recordings", "method"):
        assert page.locator(f"#{name}").is_visible()
    player = page.locator("#recording-1-0")
    assert player.locator("audio").is_visible() and not player.locator(".player-play").is_visible()
    context.close()
