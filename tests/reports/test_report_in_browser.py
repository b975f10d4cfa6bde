"""The report of a run in a real browser, offline: no errors, no requests, and its parts work by pointer and by keyboard."""

import browser
import made_run
import pytest

from birdlib.reports import overview, run_report

pytestmark = pytest.mark.slow  # about 20 s


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    labels = ["""a<b>&"'c""", "דרור", "雀形目", *(f"species {i:02d}" for i in range(25))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overview, "write", lambda outputs, run: None)
        return run_report.write(made_run.make(tmp_path_factory.mktemp("run"), labels, n_each=4, media=4))


@pytest.fixture(scope="module")
def chromium():
    with browser.launch() as found:
        yield found


@pytest.fixture
def visit(chromium, report):
    with browser.visit(chromium, report) as opened:
        yield opened
        assert opened.problems == [] and opened.requests == []


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    assert page.get_by_role("tabpanel").count() == 1


def test_tabs_show_one_section_and_follow_the_keyboard(visit):
    page = visit.page
    assert page.locator("section:visible").count() == 1
    page.get_by_role("tab", name="Data").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-sound"
    assert page.locator("section:visible").get_attribute("id") == "sound" and page.url.endswith("#sound")
    page.keyboard.press("End")
    assert page.locator("section:visible").get_attribute("id") == "method"
    page.keyboard.press("ArrowRight")
    assert page.locator("section:visible").get_attribute("id") == "data"


def test_a_link_opens_its_section(chromium, report):
    with browser.visit(chromium, report) as opened:
        opened.page.goto(report.resolve().as_uri() + "#species")
        assert opened.page.locator("section:visible").get_attribute("id") == "species"


def test_every_chart_is_drawn_in_every_section(visit):
    page = visit.page
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.evaluate("birdlib.charts.drawAll()")
        for chart in page.locator("section:visible [data-chart]:visible").all():
            chart.locator("canvas").first.wait_for(state="attached")
            assert chart.bounding_box()["height"] > 100


def first_column(page, n=3):
    return page.locator("#species .table").nth(1).locator("tbody tr:visible td:first-child").all_text_contents()[:n]


def test_the_table_of_species_is_sorted_by_a_click_and_by_a_key(visit):
    page = visit.page
    open_tab(page, "Species")
    table = page.locator("#species .table").nth(1)
    table.get_by_role("button", name="AP", exact=True).click()
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert first_column(page) == ["species 24", "species 23", "species 22"]
    table.get_by_role("button", name="AP", exact=True).press("Enter")
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert first_column(page) == ["""a<b>&"'c""", "דרור", "雀形目"]


def test_the_table_of_species_is_filtered_and_paged(visit):
    page = visit.page
    open_tab(page, "Species")
    table = page.locator("#species .table").nth(1)
    assert table.locator("tbody tr:visible").count() == 25
    table.get_by_role("button", name="next page").click()
    assert table.locator("tbody tr:visible").count() == 28 - 25
    table.get_by_role("searchbox").fill("species")
    assert table.locator("tbody tr:visible").count() == 25
    assert table.get_by_role("status").text_content() == "25 of 28 rows"
    table.get_by_role("searchbox").fill("דרור")
    assert table.locator("tbody tr:visible").count() == 1


def point_of_map(page, kind):
    """Place on the screen of a sound or photo of the embedding map that no other point covers."""
    return page.evaluate(
        """kind => {
          const chart = document.querySelector("#photos-and-sound .map [data-chart]");
          const view = Object.values(Bokeh.index).flatMap(v => v.constructor.name === "ViewManager" ? [...v] : [v]).find(v => v.el && chart.contains(v.el));
          const frame = view.frame ?? view, box = view.el.getBoundingClientRect();
          const points = view.model.renderers.flatMap(r => { const d = r.data_source.data; return [...d.x].map((x, i) => ({ x, y: d.y[i], kind: d.kind[i], name: d.name[i], sound: d.sound[i] })); });
          const screen = points.map(p => ({ ...p, sx: box.x + frame.x_scale.compute(p.x), sy: box.y + frame.y_scale.compute(p.y) }));
          const apart = (p) => Math.min(...screen.filter(o => o !== p).map(o => Math.hypot(o.sx - p.sx, o.sy - p.sy)));
          return screen.filter(p => p.kind === kind && (kind === "photo" || p.sound)).sort((a, b) => apart(b) - apart(a))[0];
        }""",
        kind,
    )


def test_the_map_tells_species_and_file_and_plays(visit):
    page = visit.page
    open_tab(page, "Photos + sound")
    chart = page.locator("#photos-and-sound .map [data-chart]")
    chart.scroll_into_view_if_needed()
    page.wait_for_selector("#photos-and-sound .map [data-drawn]")
    page.wait_for_timeout(300)
    point = point_of_map(page, "sound")
    page.mouse.move(point["sx"], point["sy"])
    tooltip = page.locator(".bk-Tooltip").filter(has_text=point["name"]).first
    tooltip.wait_for()
    assert tooltip.locator("img").first.evaluate("image => image.naturalWidth") > 0
    page.mouse.click(point["sx"], point["sy"])
    page.get_by_label("Highlight the points of a species").fill(point["name"])
    alphas = page.evaluate("""() => { const chart = document.querySelector('#photos-and-sound .map [data-chart]'); const view = [...Bokeh.index].find(v => chart.contains(v.el));
        return Object.fromEntries(view.model.renderers.flatMap(r => r.data_source.data.name.map((name, i) => [name, r.data_source.data.alpha[i]]))); }""")
    assert {name for name, alpha in alphas.items() if alpha > 0.5} == {point["name"]}
    assert browser.holds(page, "!birdlib.player.paused && birdlib.player.currentTime > 0")


def test_buttons_play_and_stop(visit):
    page = visit.page
    open_tab(page, "Sound")
    button = page.locator("#sound button.play").first
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true" and not page.evaluate("birdlib.player.paused")
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "false" and page.evaluate("birdlib.player.paused")
    button.press("Enter")
    pressed = page.evaluate("""async () => {  // the first sound stops, and its late event changes nothing of the second
        const first = document.querySelector("#sound button.play"), second = first.cloneNode(true);
        birdlib.play(birdlib.shelf(first.dataset.play)[first.dataset.sound], second);
        await new Promise((done) => birdlib.player.addEventListener("playing", done, { once: true }));
        return [first, second].map((button) => button.getAttribute("aria-pressed"));
    }""")
    assert pressed == ["false", "true"]


def test_soundscapes_are_played_from_a_detection(visit):
    page = visit.page
    open_tab(page, "Soundscapes")
    page.locator("#soundscapes .player-name").first.click()
    page.wait_for_function("[...document.querySelectorAll('audio')].some(a => !a.paused) || !birdlib.player.paused")


def test_films_can_be_played(visit):
    page = visit.page
    open_tab(page, "Individuals")
    assert page.locator("#individuals video").first.evaluate("async film => { await film.play(); return film.videoWidth; }") == 64


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_horizontal_scrolling(chromium, report, dark):
    with browser.visit(chromium, report, width=400, dark=dark) as opened:
        for tab in opened.page.get_by_role("tab").all():
            tab.click()
            opened.page.evaluate("birdlib.charts.drawAll()")
            opened.page.wait_for_timeout(150)
            assert browser.overflow_px(opened.page) == 0, tab.text_content()
        assert opened.problems == []


def brightness(page):
    """Of the background, 0 (black) to 255 (white)."""
    return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3")


def test_dark_as_the_system_and_by_the_button(chromium, report):
    with browser.visit(chromium, report, dark=True) as opened:
        assert brightness(opened.page) < 60
        opened.page.get_by_role("button", name="Switch to light colours").click()
        assert brightness(opened.page) > 200
        opened.page.reload()
        assert brightness(opened.page) > 200
        assert opened.problems == []


def test_without_scripts_all_sections_are_read(chromium, report):
    """As the preview of a mail program shows it."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.resolve().as_uri())
    assert page.locator("section:visible").count() == 8
    assert page.get_by_text("Scripts are off").is_visible()
    context.close()


def test_all_sections_are_printed(visit):
    visit.page.emulate_media(media="print")
    assert visit.page.locator("section:visible").count() == 8
    assert not visit.page.locator(".tabs").is_visible()


def test_pictures_and_controls_have_names(visit):
    """What a screen reader says."""
    assert visit.page.evaluate("[...document.querySelectorAll('img')].filter(i => !i.hasAttribute('alt')).length") == 0
    assert visit.page.evaluate("[...document.querySelectorAll('button')].filter(b => !(b.textContent.trim() || b.getAttribute('aria-label'))).length") == 0
    assert visit.page.evaluate("[...document.querySelectorAll('[data-chart]')].filter(c => !c.getAttribute('aria-label')).length") == 0
    assert visit.page.evaluate("document.querySelectorAll('[id]').length == new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size")


def test_paper_is_light_and_the_screen_is_dark_again(chromium, report):
    with browser.visit(chromium, report, dark=True) as opened:
        opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert brightness(opened.page) > 200
        opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert brightness(opened.page) < 60
        assert opened.problems == []
