"""The report in a real browser: Debian's chromium, driven over a pipe, so that nothing has to be installed."""

import base64
import contextlib
import io
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
from made_randomization import STAGES, measured
from PIL import Image

from saliency_jax.report import Illustration, Table, findings_page, sanity_page

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH to open the report with"),
]
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
# The browser reads from 3 and writes to 4, whatever the numbers of the pipes are here.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 60
"""Seconds for one answer."""
VISIBLE_STAGES = (
    "[...document.querySelectorAll('article')].map(a => [...a.querySelectorAll('tr[data-stage]')]"
    ".filter(r => r.getClientRects().length).map(r => Number(r.dataset.stage)))"
)


class Tab:
    """One tab of a browser, spoken to in the DevTools protocol; `events` holds all that it reported."""

    def __init__(self, commands, answers):
        self.commands, self.answers, self.unread = commands, answers, b""
        self.numbers, self.events, self.session = itertools.count(1), [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def read(self):
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.answers], [], [], PATIENCE)
            assert ready, f"the browser said nothing for {PATIENCE} seconds; before that: {self.events[-3:]}"
            content = os.read(self.answers, 1 << 16)
            assert content, "the browser has gone"
            self.unread += content
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def ask(self, method, **parameters):
        message = {"id": next(self.numbers), "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (found := self.read()).get("id") != message["id"]:
            self.events.append(found)
        assert "error" not in found, (method, found)
        return found["result"]

    def open(self, address):
        # By way of an empty page: from one place of a page to another nothing is loaded.
        for place in ("about:blank", address):
            self.ask("Page.navigate", url=place)
            while self.value("[location.href, document.readyState]") != [place, "complete"]:
                time.sleep(0.02)

    def value(self, expression):
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key, code):
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def photograph(self, selector):
        """The pixels of an element, as PNG."""
        area = self.value(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}; })()"
        )
        shot = self.ask("Page.captureScreenshot", format="png", clip=area, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def reported(self, method):
        return [event["params"] for event in self.events if event["method"] == method]


@contextlib.contextmanager
def started(profile):
    """A browser with one tab; it is ended with all of its processes."""
    (there_read, here_write), (here_read, there_write) = os.pipe(), os.pipe()
    arguments = [*FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", LAUNCH, str(there_read), str(there_write), CHROMIUM, *arguments],
        pass_fds=(there_read, there_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(there_read)
    os.close(there_write)
    try:
        yield Tab(here_write, here_read)
    finally:
        os.close(here_write)
        os.close(here_read)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with started(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(sanity_page(measured(), command="python x.py"), encoding="utf-8")
    return path.as_uri()


def test_the_report_opens_without_an_error_and_asks_nobody_for_anything(tab, address):
    tab.events.clear()
    tab.open(address)
    assert tab.value("document.title") == "Do the maps depend on the model's weights?"
    assert tab.reported("Runtime.exceptionThrown") == tab.reported("Log.entryAdded") == []
    assert tab.reported("Runtime.consoleAPICalled") == []
    asked = [event["request"]["url"] for event in tab.reported("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith(("data:", "about:"))] == [address]
    # Every picture could be decoded.
    assert tab.value(
        "Promise.all([...document.querySelectorAll('image')].map(i => { const p = new Image();"
        "p.src = i.getAttribute('href'); return p.decode(); })).then(all => all.length)"
    ) == 2 + 2 * 3 * (1 + len(STAGES))


def test_the_browser_lets_no_request_out_of_the_page(tab, address):
    tab.open(address)
    tab.events.clear()
    assert tab.value("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
    refused = [entry["entry"]["text"] for entry in tab.reported("Log.entryAdded")]
    assert any("Content Security Policy" in text for text in refused), refused


def test_keys_on_the_slider_change_the_pictures(tab, address):
    tab.open(address)
    last = len(STAGES)
    assert tab.value(VISIBLE_STAGES) == [[last], [last]]
    first_look = tab.photograph("article .scrolls")
    tab.value("document.getElementById('stage').focus()")
    tab.press("ArrowLeft", 37)
    assert tab.value(VISIBLE_STAGES) == [[last - 1], [last - 1]]
    assert tab.value("document.getElementById('stage-name').textContent") == STAGES[-2]
    assert tab.value("document.getElementById('stage').getAttribute('aria-valuetext')") == STAGES[-2]
    assert tab.photograph("article .scrolls") != first_look
    tab.press("End", 35)
    tab.value("document.activeElement.blur()")
    assert tab.photograph("article .scrolls") == first_look
    tab.value("document.getElementById('every-stage').click()")
    assert tab.value(VISIBLE_STAGES) == [[1, 2, 3], [1, 2, 3]]


def test_a_stage_can_be_asked_for_in_the_address(tab, address):
    tab.open(f"{address}#stage=2")
    assert tab.value(VISIBLE_STAGES) == [[2], [2]]


def test_a_line_that_has_the_focus_shows_its_values(tab, address):
    tab.open(address)
    shown = "getComputedStyle(document.querySelector('.series .values')).display"
    assert tab.value(shown) == "none"
    tab.value("document.querySelector('.series').focus()")
    assert tab.value(shown) == "inline"


def test_without_scripts_and_in_print_all_stages_are_there(tab, address):
    tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(address)
        assert tab.value(VISIBLE_STAGES) == [[1, 2, 3], [1, 2, 3]]
        assert tab.value("document.querySelector('.slider').getClientRects().length") == 0
    finally:
        tab.ask("Emulation.setScriptExecutionDisabled", value=False)
    tab.open(address)
    tab.ask("Emulation.setEmulatedMedia", media="print")
    try:
        assert tab.value(VISIBLE_STAGES) == [[1, 2, 3], [1, 2, 3]]
    finally:
        tab.ask("Emulation.setEmulatedMedia", media="")


def test_it_is_dark_where_that_is_preferred_and_fits_a_narrow_screen(tab, address):
    tab.open(address)
    ground = "getComputedStyle(document.body).backgroundColor"
    grounds = []
    for theme in ("light", "dark"):
        tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        grounds.append(tab.value(ground))
    tab.ask("Emulation.setEmulatedMedia", features=[])
    assert grounds == ["rgb(255, 255, 255)", "rgb(22, 24, 27)"]
    tab.ask("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    try:
        assert tab.value("document.documentElement.scrollWidth") == 400
    finally:
        tab.ask("Emulation.clearDeviceMetricsOverride")


@pytest.fixture(scope="module")
def general(tmp_path_factory):
    file = io.BytesIO()
    Image.new("RGB", (1500, 600), "red").save(file, "PNG")
    text = findings_page(
        "Does it work?",
        ["It does."],
        illustrations=[Illustration(file.getvalue(), "A wide figure.", "All of it is red.")],
        tables=[Table("Numbers", ["Explainer", *(f"column {k}" for k in range(20))], [["gradient", *range(20)]])],
        printed="a wide line " * 30,
    )
    path = tmp_path_factory.mktemp("general") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def test_a_general_page_asks_for_nothing_fits_a_narrow_screen_and_prints_what_is_folded_away(tab, general):
    tab.events.clear()
    tab.open(general)
    assert tab.reported("Runtime.exceptionThrown") == tab.reported("Log.entryAdded") == []
    asked = [event["request"]["url"] for event in tab.reported("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith(("data:", "about:"))] == [general]
    image = "document.querySelector('img')"
    assert tab.value(f"[{image}.complete, {image}.naturalWidth]") == [True, 1500]
    height = "document.querySelector('details').getBoundingClientRect().height"
    folded = tab.value(height)
    tab.ask("Emulation.setEmulatedMedia", media="print")
    try:
        assert tab.value(height) > folded
    finally:
        tab.ask("Emulation.setEmulatedMedia", media="")
    tab.ask("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    try:
        tab.value("document.querySelector('details').open = true")
        assert tab.value("document.documentElement.scrollWidth") == 400
        # What is wider scrolls by itself, and can be reached with the Tab key to be scrolled.
        wide = "[...document.querySelectorAll('.scrolls, pre')].filter(e => e.scrollWidth > e.clientWidth)"
        assert tab.value(f"{wide}.map(e => e.tabIndex)") == [0, 0, 0]
        assert tab.value(f"{image}.width") == 640
    finally:
        tab.ask("Emulation.clearDeviceMetricsOverride")
