"""The GPUs of each host on the page: how full and busy they are, and which instances hold their memory."""

import os
import re

import pytest

from tests.browser.alone import expect, open_page
from tests.browser.fake_stream import gpu, gpus_of
from tests.e2e.sites import ROOT

STRANGER = {"pid": 4711, "command": "/usr/bin/python train.py", "memory": 3_000_000_000}


@pytest.fixture
def hosts(fake):
    """Yield a router whose two hosts have GPUs."""
    fake.every = 0.1
    fake.gpus = {host: gpus_of(fake, host) for host in ("gpu1", "gpu2")}
    return fake


def host(page, name: str):
    return page.locator(f"[data-host='{name}'].gpu-host")


def test_without_gpus_there_is_no_section(page, fake):
    open_page(page, fake)
    expect(page.locator("tr[data-instance]")).to_have_count(12)
    expect(page.locator("#gpus")).to_be_hidden()
    expect(page.get_by_role("link", name="GPUs")).to_be_hidden()


def test_a_gpu_shows_its_memory_its_load_and_the_instances_that_hold_it(page, hosts):
    hosts.gpus["gpu1"]["gpus"][1] = gpu(1, 62.4, {"node2": 40, "node4": 18}, strangers=[STRANGER])
    open_page(page, hosts)
    page.get_by_role("link", name="GPUs").click()
    expect(page.get_by_role("heading", name="GPUs")).to_be_focused()
    bar = page.get_by_role("meter", name="Memory of GPU 1 of gpu1")
    expect(bar).to_have_attribute("aria-valuetext", "62 of 80 GB, 78 %")
    tile = page.get_by_role("list", name="GPUs of gpu1").locator(":scope > li").nth(1)
    for text in ("GPU 1", "53 % busy", "62 of 80 GB", "61 °C", "412 W"):
        expect(tile).to_contain_text(text)
    holders = tile.get_by_role("list", name="Memory in use by").get_by_role("listitem")
    expect(holders).to_have_text(["node2 40 GB", "node4 18 GB", "pid 4711 python 3 GB"])
    holders.get_by_role("button", name="node4").click()
    expect(page.locator("tr[data-instance='node4-server']")).to_be_focused()


def test_errors_and_a_tool_that_fails_are_marked_and_come_first(page, hosts):
    hosts.gpus["gpu2"]["gpus"][3]["errors"] = 2
    hosts.gpus["gpu2"]["gpus"][4]["fault"] = "GPU requires reset"
    hosts.gpus["gpu9"] = {"problem": "nvidia-smi does not answer", "gpus": []}
    open_page(page, hosts)
    names = page.locator(".gpu-host summary b")
    expect(names).to_have_text(["gpu2", "gpu9", "gpu1"])
    expect(host(page, "gpu2").locator("summary")).to_contain_text("2 errors; 1 GPU with a fault")
    expect(host(page, "gpu2").get_by_role("listitem").filter(has_text="requires reset")).to_contain_text("GPU 4")
    expect(host(page, "gpu2").get_by_role("listitem").filter(has_text="2 errors")).to_contain_text("GPU 3")
    expect(host(page, "gpu9")).to_contain_text("no GPUs nvidia-smi does not answer")
    expect(host(page, "gpu1").locator("summary .mark")).to_have_count(0)


def test_changes_are_shown_and_a_host_that_reports_no_more_is_gone(page, hosts):
    open_page(page, hosts)
    bar = page.get_by_role("meter", name="Memory of GPU 0 of gpu1")
    expect(bar).to_have_attribute("aria-valuetext", "7.5 of 80 GB, 9 %")
    busy = [gpu(0, 79, {}, utilization=None, temperature=None, power=None), *hosts.gpus["gpu1"]["gpus"][1:]]
    hosts.gpus = {**hosts.gpus, "gpu1": {"problem": "", "gpus": busy}}
    expect(bar).to_have_attribute("aria-valuetext", "79 of 80 GB, 99 %")
    expect(bar).to_have_attribute("data-full", "true")
    expect(host(page, "gpu1").get_by_role("listitem").first).not_to_contain_text("busy")
    hosts.gpus = {"gpu2": hosts.gpus["gpu2"]}
    expect(host(page, "gpu1")).to_have_count(0)
    expect(host(page, "gpu2")).to_be_visible()
    hosts.gpus = {}
    expect(page.locator("#gpus")).to_be_hidden()


def test_many_hosts_have_a_line_each_until_they_are_opened(page, hosts):
    for at in range(3, 9):
        hosts.gpus[f"gpu{at}"] = gpus_of(hosts, "gpu2")
    hosts.gpus["gpu7"]["gpus"][0]["errors"] = 1
    open_page(page, hosts)
    expect(page.locator("#gpus-sum")).to_have_text(
        re.compile(r"^8 hosts, 64 GPUs: \d+ of 5,120 GB in use, \d+ % busy$")
    )
    expect(page.locator(".gpu-host[open]")).to_have_count(1)
    expect(host(page, "gpu7").get_by_role("meter")).to_have_count(8)
    expect(page.get_by_role("meter")).to_have_count(8)  # tiles are drawn when their host is opened
    line = host(page, "gpu1").locator("summary")
    line.focus()
    page.keyboard.press("Enter")
    expect(host(page, "gpu1").get_by_role("meter")).to_have_count(8)
    expect(line).to_be_focused()


def test_the_parts_of_a_bar_add_up_to_the_memory_in_use(page, fake):
    open_page(page, fake)
    parts = page.evaluate("""async () => {
        const { partsOf } = await import("/ui/gpus.js");
        const sizes = (...arguments_) => partsOf(...arguments_).map(({ kind, bytes }) => `${kind} ${bytes}`);
        return [
            sizes(10, { a: 4, b: null }, [{ memory: 1 }, { memory: null }]),
            sizes(10, { a: 15, b: 5 }, []),
            sizes(0, {}, []),
        ];
    }""")
    assert parts == [["instance 4", "stranger 1", "rest 5"], ["instance 7.5", "instance 2.5"], []]


@pytest.mark.skipif("SVC_SCREENSHOTS" not in os.environ, reason="SVC_SCREENSHOTS=1 writes docs/images")
def test_the_screenshot_for_the_documents_is_taken(page, fake):
    fake.gpus = {
        "gpu1": {"problem": "", "gpus": [gpu(at, 71 - at, {f"node{1 + at}": 69 - at}, power=600) for at in range(8)]},
        "gpu2": {
            "problem": "",
            "gpus": [
                gpu(0, 79, {"node9": 40, "node10": 38}, utilization=0.97, temperature=78, power=655),
                gpu(1, 36, {"node11": 35}, utilization=0.31, power=280),
                gpu(2, 3.5, {}, utilization=0, temperature=35, power=71, strangers=[STRANGER]),
                gpu(3, 0.6, {}, utilization=0, temperature=34, power=70, errors=2),
            ],
        },
    }
    page.set_viewport_size({"width": 1280, "height": 900})
    open_page(page, fake)
    page.locator("#gpus").screenshot(path=ROOT / "docs" / "images" / "ui-gpus.png")
