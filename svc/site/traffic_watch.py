"""`svc top`: scrapes a router's metrics at intervals, and prints the traffic since the previous scrape.

If a registry lists GPUs of hosts, it prints them too.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
from rich.text import Text

from svc.base.errors import SvcError
from svc.base.signals import KeptInterrupt
from svc.client.registry import RegistryClient
from svc.client.router import RouterClient
from svc.client.router_metrics import ASLEEP, RouterScrape
from svc.protocol.gpu_use import GpuUse, HostUse, use_by_host
from svc.terminal.console import Console
from svc.terminal.output import echo, echo_json
from svc.terminal.screen import Screen, width_of
from svc.terminal.traffic_table import Traffic, traffic, traffic_lines


def watch(
    url: str,
    interval: float,
    count: int | None,
    sort: str,
    out: Console,
    as_json: bool,
    registry: RegistryClient | None = None,
) -> bool:
    """Print the router's traffic every `interval` seconds, `count` times or until the command is interrupted.

    Return whether the last scrape of the metrics succeeded. The GPUs come from `registry`; None: print no GPUs.
    """
    with ExitStack() as stack:
        screen = None
        if out.is_terminal and not as_json:
            screen = stack.enter_context(Screen(out))
            screen.show([Text(f"measuring for {interval:g} s")])
        interrupt = stack.enter_context(KeptInterrupt())  # after Screen, because Screen handles SIGTERM like Ctrl-C
        for number, sample in enumerate(_samples(url, lambda: interrupt.sleep(interval), registry), 1):
            _print(sample, url, sort, out, screen, as_json)
            if number == count:
                return isinstance(sample, Traffic)
    raise AssertionError("_samples never ends")


def _samples(url: str, pause: Callable[[], None], registry: RegistryClient | None) -> Iterator[Traffic | str]:
    """Yield the traffic since the previous scrape, or the problem if the router cannot be scraped, without end.

    `pause` waits until the next scrape is due.
    """
    router = RouterClient(url)
    before = _scrape(router)
    while True:
        pause()
        now = _scrape(router)
        if isinstance(now, str):
            yield now
        elif isinstance(before, str):
            yield before
        else:
            yield traffic(before, now)._replace(gpus=_gpus(registry))
        before = now


def _scrape(router: RouterClient) -> RouterScrape | str:
    """Return the router's metrics, or the error message if they cannot be read."""
    try:
        return router.scrape()
    except SvcError as error:
        return error.message


def _gpus(registry: RegistryClient | None) -> dict[str, HostUse]:
    """Return the GPUs of each host; {} if no registry answers, or if the registry is too old to list GPUs."""
    try:
        return use_by_host(registry.gpus()) if registry else {}
    except SvcError:
        return {}


def _print(sample: Traffic | str, url: str, sort: str, out: Console, screen: Screen | None, as_json: bool) -> None:
    if isinstance(sample, str):
        lines = [Text(f"{sample}; trying again, or give the router's address with --router-url")]
        if as_json:
            echo(lines[0].plain, err=True)
            return
    elif as_json:
        echo_json({"time": sample.time, "url": url, **_to_json(sample)})
        return
    else:
        headline = f"{time.strftime('%H:%M:%S', time.localtime(sample.time))}  {url}"
        lines = list(traffic_lines(sample, headline, sort, width_of(out), out.height if screen else None))
    if screen is not None:
        screen.show(lines)
    else:
        for line in lines:
            out.print_line(line)


def _to_json(sample: Traffic) -> dict[str, Any]:
    return {
        "models": {
            row.name: {
                **row.rates._asdict(),
                "queue": row.load,
                "instances": 0 if row.last == ASLEEP else int(row.last),
                "asleep": row.last == ASLEEP,
            }
            for row in sample.models
        },
        "instances": {
            row.name: {**row.rates._asdict(), "in_flight": row.load, "state": row.last} for row in sample.instances
        },
        "gpus": {name: [_gpu_to_json(use) for use in host.gpus] for name, host in sample.gpus.items()},
    }


def _gpu_to_json(use: GpuUse) -> dict[str, Any]:
    processes = [{"pid": process.pid, "memory": process.memory} for process in use.strangers]
    numbers = {name: value for name, value in msgspec.to_builtins(use.gpu).items() if name != "processes"}
    return {**numbers, "held": use.held, "strangers": processes}
