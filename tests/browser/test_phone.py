"""The phone of the sandbox, in a browser, with the real service behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.phone import Phone
from sandbox.phone.switches import Switches
from sandbox.speech import Speech, Transcript
from sandbox.speech.codec import Codec
from sandbox.speech.fixture import FixtureSpeech
from sandbox.speech.local import LocalSpeech
from sandbox.twilio.content import Choice, Content
from sandbox.twilio.standin import TwilioStandIn
from sandbox.twilio.voice_note import read_voice_note
from tests.browser.conftest import ROOT, CheckAccessibility, OpenBrowser, TakeScreenshot
from tests.browser.phone_page import PhonePage, write_pcm, write_tone

PITCH = 300
QUESTION = "How do I cancel an invoice?"
ANSWER = "I can ask for the cancellation of your last invoice"
PICTURE = ROOT / "docs" / "dashboard.png"
RECORDING = ROOT / "sandbox" / "demo" / "recordings" / "question-en.ogg"
# The service waits before it repeats a download, and a browser is slow to start.
SECONDS = 60_000


class Deployment:
    """The sandbox with the service and the phone."""

    def __init__(self, sandbox: Sandbox, bridge: Bridge, phone: Phone) -> None:
        self.sandbox = sandbox
        self.bridge = bridge
        self.phone = phone

    @property
    def twilio(self) -> TwilioStandIn:
        return self.sandbox.twilio


@contextmanager
def running(speech: Speech, folder: Path) -> Iterator[Deployment]:
    with Sandbox(speech=speech) as sandbox:
        bridge = Bridge(log_file=folder / "log")
        bridge.settings = sandbox.environment(bridge.url)
        sandbox.connect(bridge.url)
        bridge.start()
        try:
            with Phone(sandbox=sandbox, bridge=bridge, speech=speech) as phone:
                yield Deployment(sandbox, bridge, phone)
        finally:
            bridge.kill()


@pytest.fixture(scope="module")
def shared_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    expect.set_options(timeout=SECONDS)
    speech = FixtureSpeech()
    speech.tones.add(PITCH, Transcript(QUESTION))
    with running(speech, tmp_path_factory.mktemp("phone")) as deployment:
        yield deployment


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Iterator[Deployment]:
    """The shared one, which runs without faults when a test ends, however that ends."""
    yield shared_deployment
    api = f"{shared_deployment.phone.url}api"
    for name in Switches.names:
        assert requests.put(f"{api}/switches/{name}", json={"on": False}, timeout=10).ok
    assert requests.post(f"{api}/service/start", timeout=60).ok


@pytest.fixture
def tab(page: Page, deployment: Deployment) -> PhonePage:
    return PhonePage(page).open(deployment.phone.url)


@pytest.fixture(scope="module")
def microphone(open_browser: OpenBrowser, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """A browser whose microphone hears the question."""
    folder = tmp_path_factory.mktemp("microphone")
    return open_browser(microphone=write_tone(folder / "question.wav", PITCH, 3.0))


@pytest.fixture
def speaker(microphone: Browser, deployment: Deployment) -> Iterator[PhonePage]:
    with microphone.new_context(permissions=["microphone"]) as context:
        yield PhonePage(context.new_page()).open(deployment.phone.url)


def test_a_text_is_answered_and_its_ticks_turn_blue(
    tab: PhonePage,
    deployment: Deployment,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    tab.write(QUESTION)
    expect(tab.answers).to_contain_text(ANSWER)
    expect(tab.mine).to_contain_text("Read")
    expect(tab.mine).to_have_attribute("data-status", "read")
    # The page tells Twilio that its user has seen the answer, and the service hears of it.
    (answer,) = deployment.twilio.messages(tab.number)
    deployment.sandbox.recorder.wait_for(
        lambda: [each for each in deployment.twilio.messages(tab.number) if each.status == "read"]
    )
    assert answer.sid.startswith("SM")
    assert {"Webhook acknowledged", "Agent", "Text sent"} <= set(tab.stages())
    check_accessibility(tab.page)
    take_screenshot(tab.page)


def test_what_is_spoken_into_the_microphone_is_answered_by_a_note_that_plays(
    speaker: PhonePage,
    deployment: Deployment,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    speaker.speak(1.5)
    expect(speaker.answers).to_have_count(2)
    expect(speaker.answers.first).to_contain_text(ANSWER)
    sent = deployment.sandbox.elevenlabs.transcriptions[-1]
    assert sent.transcript.text == QUESTION
    sid = speaker.mine.get_attribute("data-sid")
    address = f"{deployment.phone.url}api/phones/{speaker.number[9:]}/messages/{sid}/file"
    recording = read_voice_note(requests.get(address, timeout=10).content)
    # As WhatsApp sends it, although the browser records WebM.
    assert (recording.rate, 1.0 < recording.seconds < 4.0) == (16_000, True)
    note = speaker.answers.last
    voice = deployment.twilio.wait_for_voice(speaker.number)
    length = read_voice_note(voice.audio or b"").seconds
    expect(note.locator(".length")).to_have_text(f"0:{round(length):02}")
    note.get_by_role("button", name="Speed 1×").click()
    expect(note.get_by_role("button", name="Speed 1.5×")).to_be_visible()
    note.get_by_role("button", name="Play").click()
    expect(note.get_by_role("button", name="Pause")).to_be_visible()
    audio = note.locator("audio")
    speaker.page.wait_for_function("audio => audio.currentTime > 0.2", arg=audio.element_handle())
    assert audio.evaluate("audio => audio.playbackRate") == 1.5
    assert audio.evaluate("audio => audio.duration") == pytest.approx(length, abs=0.1)
    note.get_by_role("button", name="Transcript").click()
    expect(note.locator(".words")).to_contain_text(ANSWER)
    check_accessibility(speaker.page)
    take_screenshot(speaker.page)


def test_a_recording_can_be_discarded(speaker: PhonePage, take_screenshot: TakeScreenshot) -> None:
    page = speaker.page
    page.get_by_role("button", name="Record a voice note").click()
    expect(page.get_by_text("Press again to send")).to_be_visible()
    take_screenshot(page)
    page.get_by_role("button", name="Discard the recording").click()
    expect(page.get_by_role("button", name="Record a voice note")).to_be_focused()
    speaker.write("thanks")
    expect(speaker.answers).to_have_count(1)
    expect(speaker.mine).to_have_count(1)


def test_nothing_is_sent_when_the_microphone_is_unplugged(
    speaker: PhonePage, take_screenshot: TakeScreenshot
) -> None:
    page = speaker.page
    page.evaluate(
        """() => {
            const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
            devices.getUserMedia = async (wishes) => (window.microphone = await open(wishes));
        }"""
    )
    page.get_by_role("button", name="Record a voice note").click()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    page.evaluate("() => window.microphone.getTracks().forEach((track) => track.stop())")
    expect(speaker.hint).to_have_text("The microphone stopped, so nothing was sent.")
    take_screenshot(page)
    speaker.speak(1.0)
    expect(speaker.answers).to_have_count(2)
    expect(speaker.mine).to_have_count(1)


def test_a_transcript_that_failed_is_asked_for_again(tab: PhonePage) -> None:
    tab.page.get_by_role("button", name="Attach").click()
    tab.page.get_by_role("button", name="Question (English)").click()
    tab.page.route("**/transcript", lambda route: route.abort(), times=1)
    tab.mine.get_by_role("button", name="Transcript").click()
    words = tab.mine.locator(".words")
    expect(words).to_have_text("The transcript could not be made. Press again to try again.")
    tab.mine.get_by_role("button", name="Transcript", exact=True).click()
    expect(words).to_have_text("No words were understood.")
    tab.mine.get_by_role("button", name="Hide the transcript").click()
    expect(words).to_be_hidden()


def test_without_a_microphone_a_sample_can_be_sent(
    tab: PhonePage, deployment: Deployment, take_screenshot: TakeScreenshot
) -> None:
    tab.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error()); }"
    )
    tab.page.get_by_role("button", name="Record a voice note").click()
    expect(tab.page.get_by_text("No microphone can be used here.")).to_be_visible()
    tab.page.get_by_role("button", name="Attach").click()
    take_screenshot(tab.page)
    tab.page.get_by_role("button", name="Question (English)").click()
    expect(tab.mine).to_have_attribute("data-kind", "voice")
    expect(tab.answers).to_have_count(1)
    # Nothing is spoken, because these words are no tone, and the page knows that the turn is over.
    expect(tab.page.locator("#turn-summary")).to_have_attribute("data-running", "false")


def test_pictures_and_locations_are_sent_from_the_menu(
    tab: PhonePage, take_screenshot: TakeScreenshot
) -> None:
    tab.attach_picture(PICTURE)
    expect(tab.answers).to_contain_text("I can only read text and listen to voice notes")
    shown = tab.mine.get_by_role("img")
    tab.page.wait_for_function("image => image.naturalWidth > 100", arg=shown.element_handle())
    tab.page.get_by_role("button", name="Attach").click()
    tab.page.get_by_role("button", name="Location: Kingdom Centre").click()
    expect(tab.mine.last).to_contain_text("King Fahd Road")
    expect(tab.answers).to_have_count(2)
    take_screenshot(tab.page)


def test_what_cannot_be_sent_is_kept_and_sent_again(
    speaker: PhonePage,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    page = speaker.page
    page.context.set_offline(True)
    speaker.write("Look at this")
    expect(speaker.hint).to_have_text("Not sent: The sandbox does not answer.")
    expect(speaker.composer).to_have_value("Look at this")
    speaker.attach_picture(PICTURE)
    expect(page.get_by_role("button", name="Send again what was not sent (1)")).to_be_visible()
    speaker.speak(1.5)
    again = page.get_by_role("button", name="Send again what was not sent (2)")
    expect(again).to_be_visible()
    speaker.write("thanks")
    expect(speaker.composer).to_have_value("thanks")
    check_accessibility(page)
    take_screenshot(page)
    page.context.set_offline(False)
    again.click()
    expect(speaker.mine).to_have_count(2)
    picture, note = speaker.mine.all()
    expect(picture.get_by_role("img")).to_be_visible()
    expect(picture).to_contain_text("Look at this")
    expect(note).to_have_attribute("data-kind", "voice")
    expect(speaker.hint).to_be_empty()
    expect(page.get_by_role("button", name="Send again")).to_be_hidden()
    expect(speaker.composer).to_have_value("thanks")


def test_a_text_is_kept_while_the_next_one_is_written(tab: PhonePage) -> None:
    def write_and_fail(route: Route) -> None:
        tab.composer.fill("Next")
        route.abort()

    tab.page.route("**/text", write_and_fail, times=1)
    tab.write("thanks")
    tab.page.get_by_role("button", name="Send again what was not sent (1)").click()
    expect(tab.mine).to_contain_text("thanks")
    expect(tab.composer).to_have_value("Next")


def test_a_recording_that_whatsapp_does_not_take_is_named(speaker: PhonePage) -> None:
    speaker.page.evaluate(
        """() => { window.Blob = class extends Blob {
            constructor(parts, options) { super([...parts, new Uint8Array(2 ** 24)], options); }
        }; }"""
    )
    speaker.speak(1.0)
    expect(speaker.hint).to_have_text("Not sent: WhatsApp takes at most 16 MB.")
    expect(speaker.page.get_by_role("button", name="Send again")).to_be_hidden()


def test_a_text_is_never_cut(tab: PhonePage) -> None:
    longest = "😀" * 1600
    tab.composer.focus()
    tab.page.keyboard.insert_text(longest)
    tab.page.keyboard.press("Enter")
    expect(tab.mine.locator(".text")).to_have_text(longest)
    tab.write(longest + "!")
    expect(tab.hint).to_have_text("Not sent: text must have 1 to 1600 characters.")
    expect(tab.composer).to_have_value(longest + "!")


def test_buttons_and_rows_of_a_list_are_answered_with_one_click(
    tab: PhonePage, deployment: Deployment, take_screenshot: TakeScreenshot
) -> None:
    twilio = deployment.twilio
    twilio.contents["HX1"] = Content("Cancel it?", buttons=(Choice("y", "Yes"), Choice("n", "No")))
    rows = (Choice("1", "Invoices", "All of this year"), Choice("2", "Hello"))
    twilio.contents["HX2"] = Content("What about?", rows=rows, list_button="Topics")
    for sid in ("HX1", "HX2"):
        twilio.send_content(tab.number, sid)
    tab.page.get_by_role("button", name="Yes").click()
    expect(tab.mine).to_contain_text("Yes")
    expect(tab.page.get_by_role("button", name="No", exact=True)).to_be_disabled()
    tab.page.get_by_role("button", name="Topics").click()
    take_screenshot(tab.page)
    tab.page.get_by_role("dialog").get_by_role("button", name="Hello").click()
    expect(tab.answers).to_have_count(4)
    asked = [question.text for question in deployment.sandbox.agentforce.questions]
    assert asked[-2:] == ["Yes", "Hello"]


def test_text_is_formatted_as_in_whatsapp_and_is_never_html(
    tab: PhonePage, deployment: Deployment, take_screenshot: TakeScreenshot
) -> None:
    lines = (
        "*bold* _italics_ ~strike~ `code` *_both_* 2*3*4 snake_case_name",
        "- first\n2. second\n> quoted",
        "See https://example.com/a_b_c?x=1. Or <b>bold</b> <img src=x onerror=document.title=1>",
        "```one *two*\n  <i>three</i>```",
    )
    deployment.twilio.open_window(tab.number)
    deployment.twilio.answer_by_twiml(tab.number, "\n\n".join(lines))
    text = tab.answers.locator(".text")
    for tag, inside in (("strong", "bold"), ("s", "strike"), ("code", "code")):
        expect(text.locator(tag).first).to_have_text(inside)
    expect(text.locator("strong em")).to_have_text("both")
    expect(text).to_contain_text("2*3*4 snake_case_name")
    expect(text.locator(".item").nth(1)).to_have_text("2.second")
    expect(text.locator("blockquote")).to_have_text("quoted")
    expect(text.get_by_role("link")).to_have_attribute("href", "https://example.com/a_b_c?x=1")
    expect(text.locator("pre")).to_have_text("one *two*\n  <i>three</i>")
    expect(text).to_contain_text("<b>bold</b> <img src=x onerror=document.title=1>")
    assert text.locator("img, b, i").count() == 0
    take_screenshot(tab.page)


def test_what_the_providers_got_is_shown_without_words_and_numbers(
    tab: PhonePage, deployment: Deployment
) -> None:
    tab.write("My secret word is xylophone")
    expect(tab.answers).to_have_count(1)
    calls = tab.page.locator("#calls")
    expect(calls).to_contain_text("POST /2010-04-01/Accounts/<account>/Messages.json")
    expect(calls).to_contain_text("… 27 characters")
    shown = tab.page.locator("#inside").text_content() or ""
    assert deployment.twilio.account_sid not in shown
    assert not re.search(r"xylophone|15550\d|Bearer|sandbox-", shown)


def test_a_fault_is_seen_to_be_handled(
    tab: PhonePage, check_accessibility: CheckAccessibility, take_screenshot: TakeScreenshot
) -> None:
    row = tab.turn_on("The agent answers 500")
    tab.write(QUESTION)
    expect(tab.answers).to_contain_text("Sorry, I couldn't get an answer.")
    expect(row).to_contain_text("Met once. What the service did:")
    expect(row).to_contain_text("Turn failed")
    check_accessibility(tab.page)
    take_screenshot(tab.page)
    row.get_by_role("switch").uncheck()
    tab.write(QUESTION)
    expect(tab.answers).to_have_count(2)
    expect(tab.answers.last).to_contain_text(ANSWER)


def test_a_late_recording_is_waited_for_and_a_lost_note_is_named(
    speaker: PhonePage, take_screenshot: TakeScreenshot
) -> None:
    late = speaker.turn_on("The recording is not ready for 2 s")
    lost = speaker.turn_on("The voice note is not delivered")
    speaker.speak(1.5)
    expect(speaker.answers.first).to_contain_text(ANSWER)
    expect(late).to_contain_text(re.compile(r"Met \d times.*Download time: \d\.\d+s"))
    expect(speaker.log).to_contain_text("A voice note did not arrive (Twilio error 63019)")
    expect(lost).to_contain_text("Met")
    take_screenshot(speaker.page)


def test_a_killed_service_answers_what_it_had_taken_when_it_is_started_again(
    tab: PhonePage, take_screenshot: TakeScreenshot
) -> None:
    slow = tab.turn_on("The agent takes 20 s")
    tab.write(QUESTION)
    expect(tab.mine).to_have_attribute("data-status", "read")
    tab.page.get_by_role("button", name="Kill the service").click()
    expect(tab.page.locator("#service")).to_contain_text("It is dead.")
    slow.get_by_role("switch").uncheck()
    tab.write("Are you there?")
    expect(tab.mine.last).to_contain_text("The service did not take this message")
    take_screenshot(tab.page)
    tab.page.get_by_role("button", name="Start it again").click()
    expect(tab.page.locator("#service")).to_contain_text("It runs.")
    expect(tab.answers.first).to_contain_text(ANSWER)


def test_two_tabs_are_two_people(
    tab: PhonePage, context: BrowserContext, deployment: Deployment
) -> None:
    other = PhonePage(context.new_page()).open(deployment.phone.url)
    assert other.number != tab.number
    tab.page.get_by_role("button", name="Attach").click()
    tab.page.get_by_role("button", name="Question (English)").click()
    other.write("thanks")
    expect(other.answers).to_contain_text("You're welcome")
    expect(tab.answers).to_have_count(1)
    expect(tab.mine).to_have_count(1)
    expect(other.mine).to_have_text(re.compile("thanks"))
    expect(other.answers).to_have_count(1)
    sid = tab.mine.get_attribute("data-sid")
    answers = [
        requests.get(f"{deployment.phone.url}api/phones/{number}/messages/{sid}/file", timeout=10)
        for number in (tab.number[9:], other.number[9:])
    ]
    assert [answer.status_code for answer in answers] == [200, 404]


def test_a_copy_of_a_tab_is_another_person_and_a_reloaded_tab_is_the_same(
    tab: PhonePage, context: BrowserContext, deployment: Deployment
) -> None:
    copy = PhonePage(context.new_page())
    # What a browser does when it duplicates a tab.
    copy.page.add_init_script(f"sessionStorage.number ??= '{tab.number[9:]}'")
    copy.open(deployment.phone.url)
    numbers = [tab.number, copy.number]
    assert numbers[0] != numbers[1]
    for each in (tab, copy):
        each.page.reload()
        expect(each.page.get_by_text("You write as")).to_be_visible()
    assert [tab.number, copy.number] == numbers


def test_a_number_that_is_used_is_not_given_to_a_new_tab(deployment: Deployment) -> None:
    api = f"{deployment.phone.url}api/phones"

    def assign() -> int:
        return int(requests.post(api, json={}, timeout=10).json()["number"])

    listening = assign() + 1
    writing = listening + 1
    requests.get(f"{api}/+{listening}/events", stream=True, timeout=10).close()
    requests.post(f"{api}/+{writing}/text", json={"text": "thanks"}, timeout=10)
    assert assign() == writing + 1


def test_many_tabs_work_and_a_hidden_one_catches_up(
    tab: PhonePage, context: BrowserContext, deployment: Deployment
) -> None:
    tabs = [tab]
    for _ in range(7):
        tabs[-1].become("hidden")
        tabs.append(PhonePage(context.new_page()).open(deployment.phone.url))
    tabs[-1].write("thanks")
    expect(tabs[-1].answers).to_have_count(1)
    deployment.twilio.open_window(tab.number)
    deployment.twilio.answer_by_twiml(tab.number, "Are you there?")
    tabs[-1].become("hidden")
    tab.become("visible")
    expect(tab.answers).to_contain_text("Are you there?")
    tab.write("thanks")
    expect(tab.answers).to_have_count(2)


def test_too_many_visible_windows_are_explained(
    tab: PhonePage, context: BrowserContext, deployment: Deployment
) -> None:
    for _ in range(6):
        last = PhonePage(context.new_page()).open(deployment.phone.url)
    expect(last.page.get_by_role("alert")).to_contain_text("Too many windows")
    last.write("thanks")
    expect(last.composer).to_have_value("")
    for page in context.pages[:3]:
        page.close()
    expect(last.page.get_by_role("alert")).to_be_hidden()
    expect(last.answers).to_have_count(1)


def test_the_keyboard_alone_writes_records_and_attaches(
    speaker: PhonePage, take_screenshot: TakeScreenshot
) -> None:
    keyboard, page = speaker.page.keyboard, speaker.page

    def go_to(name: str) -> None:
        for _ in range(40):
            keyboard.press("Tab")
            focused = page.evaluate(
                "document.activeElement.ariaLabel || document.activeElement.innerText"
            )
            if focused and name in focused:
                return
        raise AssertionError(f"{name} cannot be reached")

    go_to("Message")
    go_to("Attach")
    keyboard.press("Tab")
    keyboard.type(QUESTION)
    keyboard.press("Enter")
    expect(speaker.answers).to_have_count(1)
    go_to("Record a voice note")
    keyboard.press("Space")
    expect(page.get_by_text("Press again to send")).to_be_visible()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    keyboard.press("Enter")
    expect(speaker.answers).to_have_count(3)
    go_to("Attach")
    keyboard.press("Enter")
    expect(page.get_by_role("button", name="Question (Arabic)")).to_be_focused()
    keyboard.press("Escape")
    expect(page.get_by_role("button", name="Attach")).to_be_focused()
    take_screenshot(page)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_the_page_speaks_arabic_from_right_to_left(
    tab: PhonePage,
    width: int,
    scheme: str,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 780})
    tab.write("كيف ألغي الفاتورة؟")
    expect(tab.answers).to_have_count(1)
    page.get_by_role("button", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    mine, answer = tab.page.locator("article.mine"), tab.page.locator("article.theirs")
    boxes = mine.bounding_box(), answer.bounding_box()
    assert boxes[0] and boxes[1] and boxes[0]["x"] < boxes[1]["x"]
    assert not tab.is_wider_than_its_window()
    check_accessibility(page)
    take_screenshot(page)


def test_on_a_narrow_screen_the_inside_is_a_second_view(
    tab: PhonePage,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 1800})
    tab.write("give me the complete guide")
    expect(tab.answers.last).to_contain_text("speak to a colleague")
    assert not tab.is_wider_than_its_window()
    check_accessibility(page)
    page.get_by_role("button", name="Inside").click()
    expect(page.get_by_role("heading", name="Break something")).to_be_visible()
    page.locator("#calls summary").last.click()
    assert not tab.is_wider_than_its_window()
    check_accessibility(page)
    take_screenshot(page)
    page.get_by_role("button", name="Back to the chat").click()
    expect(tab.composer).to_be_visible()


def test_the_page_finds_its_server_again(tab: PhonePage, deployment: Deployment) -> None:
    tab.write("thanks")
    expect(tab.answers).to_have_count(1)
    deployment.phone.stop()
    expect(tab.page.get_by_role("alert")).to_contain_text("lost its connection")
    deployment.phone.start()
    expect(tab.page.get_by_role("alert")).to_be_hidden()
    tab.write("thanks")
    expect(tab.answers).to_have_count(2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example.com"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "api/phones/+15550101/events"),
        ("POST", "api/phones/+15550101/text"),
        ("PUT", "api/switches/agent_fails"),
        ("POST", "api/service/kill"),
    ],
)
def test_foreign_pages_are_refused(
    deployment: Deployment, method: str, path: str, headers: dict[str, str]
) -> None:
    body = {"text": "hello", "on": True}
    address = deployment.phone.url + path
    answer = requests.request(method, address, headers=headers, json=body, timeout=10)
    assert answer.status_code == 403
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("phones/+14155550100/text", {"text": "hi"}, "The number of a phone is like"),
        ("phones/+155501٠١/text", {"text": "hi"}, "The number of a phone is like"),
        ("phones/+15550101/text", {"text": " "}, "text must have 1 to 1600 characters"),
        ("phones/+15550101/text", {"text": "\ud800"}, "text must have no half of a character"),
        ("phones/+15550101/place", {"place": True}, "There is no such place"),
        ("phones/+15550101/sample", {"name": "../README"}, "There is no such recording"),
        ("phones/+15550101/place", {"place": 99}, "There is no such place"),
        ("phones/+15550101/recording", {}, "The recording cannot be decoded"),
        ("phones/+15550101/picture", {}, "The picture must be a JPEG"),
        ("phones/+15550101/choice", {"message": "SM1", "choice": "1"}, "There is no such choice"),
        ("phones/+15550101/dance", {}, "There is no such kind of message"),
        ("service/dance", {}, "There is nothing to kill"),
    ],
)
def test_wrong_requests_are_explained(
    deployment: Deployment, path: str, body: dict[str, object], reason: str
) -> None:
    answer = requests.post(f"{deployment.phone.url}api/{path}", json=body, timeout=10)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.speech
def test_a_spoken_question_is_understood_and_answered_in_speech(
    open_browser: OpenBrowser, tmp_path: Path, take_screenshot: TakeScreenshot
) -> None:
    codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    heard = tmp_path / "question.wav"
    write_pcm(heard, codec.decode(RECORDING.read_bytes()))
    speech = LocalSpeech()
    try:
        with (
            running(speech, tmp_path) as deployment,
            open_browser(microphone=heard).new_context(permissions=["microphone"]) as context,
        ):
            tab = PhonePage(context.new_page()).open(deployment.phone.url)
            tab.speak(4.0)
            expect(tab.answers).to_have_count(2)
            expect(tab.answers.first).to_contain_text("To register an electronic invoice, log in")
            tab.answers.last.get_by_role("button", name="Transcript").click()
            expect(tab.answers.last.locator(".words")).to_contain_text(
                re.compile("register|invoic", re.IGNORECASE)
            )
            take_screenshot(tab.page)
    finally:
        speech.close()
