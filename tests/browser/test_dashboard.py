"""The dashboard in a browser, with made-up figures; its clock stands still."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser import fake_dashboard
from tests.browser.conftest import CheckAccessibility, TakeScreenshot
from tests.browser.fake_dashboard import NOW, FakeDashboard, Json
from tests.e2e.conftest import StartDeployment, start_deployment
from tests.sandbox.waiting import wait_until

# The fixture that starts a real service.
__all__ = ["start_deployment"]

STATE_SECONDS, HISTORY_SECONDS = 5, 30
# A narrow phone, in pixels.
PHONE = 360
# What a person sees first, by the name of what he is to see.
SCENES: dict[str, tuple[Json, float, str]] = {
    "green": (fake_dashboard.state(), 60, "day"),
    "amber": (fake_dashboard.amber(), 40, "day"),
    "red": (fake_dashboard.red(), 40, "hour"),
    "empty": (fake_dashboard.ready(), 0, "day"),
    "busy": (fake_dashboard.state(), 900, "day"),
    "week": (fake_dashboard.state(), 60, "week"),
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDashboard]:
    with fake_dashboard.serve() as fake:
        yield fake


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A desktop in Berlin, one hour ahead of UTC in winter."""
    with browser.new_context(
        viewport={"width": 1100, "height": 900}, timezone_id="Europe/Berlin"
    ) as context:
        yield context


def look(page: Page, fake: FakeDashboard, window: str = "day") -> None:
    """Opens the page, and waits until it shows both answers."""
    stop_clock(page)
    page.goto(f"{fake.url}#{window}")
    expect(page.locator("#updated")).not_to_be_empty()
    expect(page.locator("#texts")).not_to_have_text("–")


def stop_clock(page: Page) -> None:
    """The page's time goes on only when the test says so."""
    page.clock.install(time=NOW - 1)
    page.clock.pause_at(NOW)


def numbers(locator: Locator) -> list[float]:
    return [float(re.sub(r"[^\d.]", "", text)) for text in locator.all_inner_texts()]


@pytest.mark.parametrize(
    ("scene", "theme"),
    [(scene, "light") for scene in SCENES]
    + [(scene, "dark") for scene in ("amber", "red")]
    + [(scene, "phone") for scene in ("red", "week")],
)
def test_each_state_is_accessible_in_both_themes_and_fits_a_phone(
    page: Page,
    fake: FakeDashboard,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
    scene: str,
    theme: str,
) -> None:
    state, rate, window = SCENES[scene]
    fake.show(state, rate)
    if theme == "dark":
        page.emulate_media(color_scheme="dark")
    elif theme == "phone":
        page.set_viewport_size({"width": PHONE, "height": 740})
    look(page, fake, window)
    verdict = page.locator("#verdict")
    expect(verdict).to_have_attribute("data-level", state["verdict"]["level"])
    expect(verdict).to_contain_text(state["verdict"]["title"])
    expect(page).to_have_title(f"{state['verdict']['title']} – WhatsApp bridge")
    page.clock.resume()
    check_accessibility(page)
    take_screenshot(page)
    if theme == "phone":
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE


def test_a_refused_credential_says_what_to_do(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.amber(), 40)
    look(page, fake)
    expect(page.locator("#verdict a")).to_have_attribute("href", re.compile("#credentials$"))
    provider = page.locator("#providers li").filter(has_text="ElevenLabs")
    expect(provider).to_contain_text("Refuses our credentials")
    expect(provider).to_contain_text("last success 2 h 1 min ago")
    expect(provider).to_contain_text("last failure 42 s ago SpeechRefused")
    expect(provider.locator("a")).to_have_attribute("href", "https://status.example.com/elevenlabs")
    expect(page.locator("#errors li")).to_contain_text(["SpeechRefused 4 ×"], use_inner_text=True)
    link = page.get_by_role("link", name="What to do: Not delivered: 63016")
    expect(link.first).to_have_attribute("href", "https://www.twilio.com/docs/api/errors/63016")


def test_refused_webhooks_name_the_expected_address(page: Page, fake: FakeDashboard) -> None:
    state = fake_dashboard.red()
    fake.show(state, 40)
    look(page, fake)
    refused = page.get_by_role("region", name="3 webhooks were refused")
    expect(refused.locator("code")).to_have_text(state["refused_webhooks"]["expected_url"])
    expect(refused).to_contain_text("1 min ago")
    expect(page.locator("#last-message")).to_have_text("1 min ago")
    expect(page.locator("#last-answer")).to_have_text("none yet")
    expect(page.locator("#waiting")).to_have_text("12")
    expect(page.locator("#updated")).to_have_text("as of 14:07:30")
    expect(page.locator("#oldest")).to_have_text("the oldest for 14.2 s")
    state["refused_webhooks"]["is_over"] = True
    page.clock.run_for(1000 * STATE_SECONDS)
    expect(refused).to_be_hidden()


def test_the_checklist_folds_when_everything_has_worked(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.red())
    look(page, fake)
    checklist = page.locator("#checklist")
    expect(checklist).to_have_attribute("open", "")
    # What failed comes first, with its hint.
    expect(page.locator("#results li").first).to_contain_text("Salesforce refuses the secret.")
    expect(page.locator("#results li").first).to_contain_text("Copy the consumer secret again")
    fake.show(fake_dashboard.state())
    page.clock.run_for(1000 * STATE_SECONDS)
    expect(checklist.locator("summary")).to_contain_text("everything has worked once")
    expect(checklist).not_to_have_attribute("open", "")
    # It stays as the person left it.
    checklist.locator("summary").click()
    page.clock.run_for(1000 * STATE_SECONDS)
    expect(checklist).to_have_attribute("open", "")


def test_it_follows_the_service_without_reloading(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.amber(), 40)
    look(page, fake)
    link = page.locator("#verdict a")
    link.focus()
    before = page.locator("#messages-plot svg .texts").last.get_attribute("d")
    fake.show(fake_dashboard.state(health=fake_dashboard.health(running=7)), 80)
    page.clock.run_for(1000 * STATE_SECONDS)
    expect(page.locator("#verdict")).to_have_attribute("data-level", "good")
    expect(page.locator("#running")).to_have_text("7")
    expect(page.get_by_text("No errors now")).to_be_visible()
    page.clock.run_for(1000 * HISTORY_SECONDS)
    total = fake.histories["day"]["total"]
    expect(page.locator("#texts")).to_have_text(f"{total['texts']:,}")
    assert page.locator("#messages-plot svg .texts").last.get_attribute("d") != before


def test_a_hidden_page_does_not_ask(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.state(), 40)
    look(page, fake)
    hide(page, True)
    asked = len(fake.asked)
    page.clock.run_for(1000 * 10 * HISTORY_SECONDS)
    assert len(fake.asked) == asked
    fake.show(fake_dashboard.red(), 40)
    hide(page, False)
    expect(page.locator("#verdict")).to_have_attribute("data-level", "bad")
    wait_until(lambda: len(fake.asked) == asked + 1, "that the history is asked for")


def hide(page: Page, hidden: bool) -> None:
    """As when the person turns to another tab."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, value: hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_old_figures_are_marked_while_the_service_does_not_answer(
    page: Page,
    fake: FakeDashboard,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    fake.show(fake_dashboard.state(), 60)
    look(page, fake)
    page.context.set_offline(True)
    page.clock.run_for(1000 * STATE_SECONDS)
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("The service does not answer")
    expect(verdict).to_contain_text("What stands below is of Tue 24 Nov, 14:07:30.")
    expect(verdict).to_contain_text("no connection")
    page.clock.run_for(1000 * HISTORY_SECONDS)
    expect(page.locator("#history-lost")).to_contain_text("It is of Tue 24 Nov, 14:07:30")
    expect(page.locator("#texts")).not_to_have_text("–")
    page.clock.resume()
    check_accessibility(page)
    take_screenshot(page)
    page.context.set_offline(False)
    page.clock.run_for(1000 * STATE_SECONDS)
    expect(verdict).to_have_attribute("data-level", "good")
    expect(page.locator("#history-lost")).to_be_empty()
    assert page.locator(".old").count() == 0


@pytest.mark.parametrize(
    ("status", "words"), [(401, "the password is not taken any more"), (503, "it answers 503")]
)
def test_it_says_why_there_are_no_figures(
    page: Page, fake: FakeDashboard, status: int, words: str
) -> None:
    fake.status = status
    stop_clock(page)
    page.goto(fake.url)
    expect(page.locator("#verdict")).to_contain_text(words)
    expect(page.locator("#history-lost")).to_contain_text(words)


def test_the_window_is_part_of_the_address(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.state(), 60)
    look(page, fake, "week")
    chosen = page.locator("#windows [aria-current]")
    expect(chosen).to_have_text("Week")
    for window in ("Hour", "Day"):
        page.get_by_role("link", name=window, exact=True).click()
        expect(chosen).to_have_text(window)
        total = fake.histories[window.lower()]["total"]
        expect(page.locator("#texts")).to_have_text(f"{total['texts']:,}")
    assert page.url.endswith("#day")
    page.reload()
    expect(chosen).to_have_text("Day")
    assert fake.asked[-1] == "day"
    page.go_back()
    expect(chosen).to_have_text("Hour")


@pytest.mark.parametrize("window", ["hour", "day", "week"])
def test_tables_hold_the_numbers_of_the_service(
    page: Page, fake: FakeDashboard, window: str
) -> None:
    fake.show(fake_dashboard.state(), 120)
    look(page, fake, window)
    points = fake.histories[window]["points"]
    columns = ("texts", "voice_notes", "commands", "failed")
    counted = [point[name] for point in points if point["messages"] for name in columns]
    assert table(page, "messages-plot") == counted
    for kind in ("text", "voice"):
        latencies = [point[f"{kind}_latency"] for point in points]
        measured = [each[name] for each in latencies if each["count"] for name in PERCENTILES]
        assert table(page, f"{kind}-plot") == pytest.approx(measured, rel=0.005)


PERCENTILES = ("p50", "p95", "p99")


def table(page: Page, figure: str) -> list[float]:
    page.locator(f"#{figure} summary").click()
    expect(page.locator(f"#{figure} td").first).to_be_visible()
    return numbers(page.locator(f"#{figure} td"))


def test_totals_are_those_of_the_service(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.state(), 900)
    look(page, fake)
    total, costs = (fake.histories["day"][part] for part in ("total", "costs"))
    shown = numbers(page.locator("#texts, #voice-notes, #commands, #answered, #failed"))
    counted = ("texts", "voice_notes", "commands", "answered", "failed")
    assert shown == [total[name] for name in counted]
    expect(page.locator("#texts-note")).to_have_text("median 2.44 s\n95 % within 3.66 s")
    expect(page.locator("#saved")).to_have_text("92 %")
    expect(page.locator("#saved-note")).to_have_text("8,962 of 9,712 characters")
    stages = numbers(page.locator("#stages [data-field=p50]"))
    assert stages[1:] == pytest.approx([each["p50"] for each in total["stages"]][1:], abs=0.0051)
    expect(page.locator("#stages tr").first).to_contain_text("Queue< 1 %4.0 ms")
    expect(page.locator("#cost-total")).to_have_text(f"${costs['total']:,.2f}")
    expect(page.locator("#conversations-note")).to_have_text("$0.84 each")
    expect(page.locator("#languages li").nth(1)).to_contain_text("Arabic")


def test_without_prices_no_money_is_shown(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.state(), 60)
    look(page, fake, "hour")
    costs = page.get_by_role("region", name="Used at the providers")
    expect(costs).to_contain_text("9,712 credits")
    expect(costs).to_contain_text("With your prices")
    assert "$" not in page.locator("#history").inner_text()


def test_the_keyboard_reaches_everything(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.amber(), 60)
    look(page, fake)
    controls = page.locator("a, summary, [tabindex]").locator("visible=true").element_handles()
    for control in controls:
        page.keyboard.press("Tab")
        assert control.evaluate("each => each === document.activeElement"), control
    assert len([each for each in controls if each.get_attribute("role") == "slider"]) == 4


def test_the_keyboard_reads_the_values_of_a_plot(
    page: Page, fake: FakeDashboard, take_screenshot: TakeScreenshot
) -> None:
    fake.show(fake_dashboard.state(), 60)
    look(page, fake)
    points = fake.histories["day"]["points"]
    page.locator("#windows a").last.focus()
    page.keyboard.press("Tab")
    plot = page.get_by_role("slider", name="Messages")
    expect(plot).to_be_focused()
    expect(plot).to_have_attribute("aria-valuetext", spoken(points[-1], "14:00–14:15, so far"))
    tooltip = page.locator("#messages-plot .tooltip")
    expect(tooltip).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(plot).to_have_attribute("aria-valuetext", spoken(points[-2], "13:45–14:00"))
    expect(tooltip).to_contain_text(f"Texts{points[-2]['texts']}")
    take_screenshot(page)
    page.keyboard.press("Home")
    expect(tooltip).to_contain_text("Mon 23 Nov, 14:15–14:30")
    page.keyboard.press("Escape")
    expect(tooltip).to_be_hidden()
    assert [point["at"] for point in points][-1] == NOW - 450


def spoken(point: Json, slot: str) -> str:
    counts = (point["texts"], point["voice_notes"], point["commands"], point["failed"])
    names = ("Texts", "Voice notes", "Commands", "Failed")
    return f"{slot}: " + ", ".join(f"{a} {b}" for a, b in zip(names, counts, strict=True))


def test_the_mouse_points_at_the_same_time_in_all_plots(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.state(), 60)
    look(page, fake)
    page.locator("#text-plot .canvas").hover()
    expect(page.locator(".tooltip:visible")).to_have_count(1)
    read = [
        each.split(": ")[0]
        for each in page.get_by_role("slider").evaluate_all(
            "all => all.map(each => each.getAttribute('aria-valuetext'))"
        )
    ]
    assert len(set(read)) == 1


def test_a_finger_leaves_the_values_until_it_touches_something_else(
    browser: Browser, fake: FakeDashboard
) -> None:
    fake.show(fake_dashboard.state(), 60)
    with browser.new_context(viewport={"width": PHONE, "height": 740}, has_touch=True) as context:
        page = context.new_page()
        look(page, fake)
        tooltip = page.locator("#messages-plot .tooltip")
        page.locator("#messages-plot .canvas").tap()
        expect(tooltip).to_be_visible()
        page.locator("#windows a").first.tap()
        expect(tooltip).to_be_hidden()


def test_nothing_is_drawn_where_nothing_was_measured(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.state(), 60)
    look(page, fake)
    line = page.locator("#text-plot .canvas .line.p50").get_attribute("d") or ""
    # The night is a gap between the evening and the morning.
    assert line.count("M") == 2
    expect(page.locator("#text-plot .nothing")).to_be_hidden()


def test_axes_have_round_local_times(page: Page, fake: FakeDashboard) -> None:
    fake.show(fake_dashboard.state(), 60)
    look(page, fake)
    along = page.locator("#messages-plot .along")
    expect(along.first).to_have_text("16:00")
    expect(along.last).to_have_text("14:00")
    expect(page.locator("#messages-plot .upright")).to_have_text(["0", "5", "10", "15", "20"])
    page.get_by_role("link", name="Week").click()
    expect(along.first).to_have_text("Wed 18")
    expect(along.nth(1)).to_have_text("12:00")


def test_the_page_asks_for_nothing_else(page: Page, fake: FakeDashboard) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    fake.show(fake_dashboard.state(), 60)
    look(page, fake)
    paths = {each.removeprefix(fake.url) for each in asked if not each.startswith("data:")}
    assert paths == {"", "/state", "/history?window=day"}


def test_a_real_service_is_shown_as_it_is(
    page: Page, start_deployment: StartDeployment, take_screenshot: TakeScreenshot
) -> None:
    with start_deployment() as deployment:
        url = f"{deployment.bridge.url}/dashboard"

        def total() -> Json:
            return dict(requests.get(f"{url}/history?window=hour", timeout=10).json()["total"])

        deployment.ask("hello")
        deployment.ask("voice on")
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("What is a credit note?"))
        deployment.twilio.wait_for_voice(user)
        deployment.add_fault("agentforce", "ask", status=500)
        deployment.ask("What is the QR code for?")
        wait_until(lambda: total()["failed"] == 1, "the failure is counted")
        page.goto(f"{url}#hour")
        counted = page.locator("#texts, #voice-notes, #commands, #answered")
        expect(counted).to_have_text(["2", "1", "1", "3"])
        expect(page.locator("#failed")).to_have_text("1 failed")
        expect(page.locator("#failures li")).to_have_count(len(total()["failures"]))
        expect(page.locator("#stages tr")).to_have_count(len(total()["stages"]))
        state = requests.get(f"{url}/state", timeout=10).json()
        expect(page.locator("#verdict [data-field=title]")).to_have_text(state["verdict"]["title"])
        expect(page.locator("#providers li")).to_have_count(3)
        take_screenshot(page)
