"""The page in Firefox: its headline, its rows, its plots, a drain, an answer, and a lost link."""

from tests.browser.fake_stream import gpus_of
from tests.browser.firefox import firefox

FITS = "document.documentElement.scrollWidth <= innerWidth"
FOCUSED = "document.activeElement.dataset.instance"
# What the table of instances is made of, in the way that Firefox lays it out.
DISPLAY = "getComputedStyle(document.querySelector('tr[data-instance]')).display"


def test_the_page_works_in_firefox(fake, tmp_path):
    fake.token = "t"
    fake.gpus = {host: gpus_of(fake, host) for host in ("gpu1", "gpu2")}
    with firefox(tmp_path) as browser:
        browser.open(f"{fake.url}/ui")
        browser.run("sessionStorage.setItem('operator-token', 't')")
        browser.open(f"{fake.url}/ui")
        browser.shows("#connection", "live")
        browser.shows("#verdict", "All 12 instances healthy")
        assert browser.run("document.querySelectorAll('.plot canvas').length") == 6
        browser.click("#gpus-link")
        browser.shows("[data-host='gpu1'].gpu-host", "35 of 80 GB")
        for width in (500, 820, 1440):
            browser.size(width, 900)
            assert browser.run(FITS), "nothing is cut off at the side"
        assert browser.run(DISPLAY) == "grid"

        fake.become("node7-server", "stopped")
        browser.shows(
            "#verdict", "1 of 12 instances is not accepting new requests: node7-server stopped by an operator"
        )
        browser.click("#verdict a[data-leads='node7-server']")
        assert browser.run(FOCUSED) == "node7-server"
        browser.shows("tr[data-instance='node7-server']", "supervisorctl start node7:server")

        browser.click("tr[data-instance='node3-server'] [data-cell='act'] button")
        browser.shows("#action", "It finishes its 2 requests, and accepts no new requests until it is undrained.")
        browser.click("#action-do")
        browser.shows("tr[data-instance='node3-server'] [data-cell='state']", "drained")

        browser.click("#send")
        browser.shows("#answer", "Hello, <b>world</b>")

        fake.cut.set()
        browser.shows("#verdict", "No link to the router since")
        fake.cut.clear()
        browser.shows("#connection", "live")
