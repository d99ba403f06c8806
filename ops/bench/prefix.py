"""Measure what the policy `prefix` costs a request: to cut the conversation into blocks, to find it, and to record it.

Each row has the CPU microseconds of one choice among INSTANCES idle instances that know the conversation up to its last
turn. `parse` is what reading the body costs under every policy; the columns from `find` on come on top of it. Other
load of the machine makes all columns larger alike, and the least of several rounds counts. The last line is the memory
of a full map.

    python ops/bench/prefix.py
    python ops/bench/prefix.py --instances 50 --rounds 30
"""

import argparse
import itertools
import json
import sys
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable

from packages import install_command

try:
    from report import aligned

    from svc.router.balance.conversation import block_hashes, conversation_of
    from svc.router.balance.policies import POLICIES, PickContext
    from svc.router.balance.pool import Member, Pool
    from svc.router.balance.prefix_map import PrefixMap
    from svc.router.balance.routing_request import RoutingRequest, parse
    from svc.router.balance.target import Target
    from svc.router.http.request import Request, RequestHead
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench')}")

MODEL = "m"
BATCH_SECONDS = 0.005
MAP_BYTES = 32 << 20  # as the setting `prefix_map_bytes` has it by default
HEADERS = ((b"Content-Type", b"application/json"),)
TEXT = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n"
TOOLS = [{"type": "function", "function": {"name": f"tool_{n}", "description": TEXT * 6}} for n in range(20)]


def body(size: int, messages: int, tools: bool = False) -> bytes:
    """Return the body of a chat of about so many bytes, in so many messages."""
    fields = {"model": MODEL, "stream": True, "messages": [], **({"tools": TOOLS} if tools else {})}
    length = max(1, (size - len(json.dumps(fields))) // messages - 32)
    text = (TEXT * (length // len(TEXT) + 1))[:length]
    fields["messages"] = [{"role": "user", "content": text} for _ in range(messages)]
    return json.dumps(fields).encode()


CASES = {
    "200 B, one message": body(200, 1),
    "4 KB, one message": body(4 << 10, 1),
    "4 KB, 8 messages": body(4 << 10, 8),
    "64 KB, one message": body(64 << 10, 1),
    "100 KB, one message": body(100 << 10, 1),
    "100 KB, 100 messages": body(100 << 10, 100),
    "100 KB, 100 messages, tools": body(100 << 10, 100, tools=True),
    "1 MB, 200 messages": body(1 << 20, 200),
}


def microseconds(work: Callable[[], object], rounds: int) -> float:
    """Return the least CPU time of one call, in rounds of BATCH_SECONDS each."""
    count, least = 1, float("inf")
    while (taken := _cpu_seconds(work, count)) < BATCH_SECONDS / 4:
        count *= 2
    count = max(1, int(count * BATCH_SECONDS / taken))
    for _ in range(rounds):
        least = min(least, _cpu_seconds(work, count) / count)
    return least * 1e6


def _cpu_seconds(work: Callable[[], object], count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        work()
    return time.process_time() - began


def measure(content: bytes, instances: int, rounds: int) -> list[float]:
    head = RequestHead(b"POST", b"/v1/chat/completions", HEADERS, {})
    pool = Pool.of((Member(f"i{number}", instance(number)) for number in range(instances)), MODEL)
    request = parse(Request(head, content))
    keyed = RoutingRequest(MODEL, b"session", content)
    hashes = block_hashes(conversation_of(request), pool.seed)
    prefixes = PrefixMap(MAP_BYTES)
    for number in range(instances):
        prefixes.add(hashes[: len(hashes) // 2], f"i{number}")
    prefixes.add(hashes[:-1], "i0")
    context = PickContext({}, defaultdict(itertools.count), lambda: 0.5, 51_200, (), prefixes)
    columns: list[Callable[[], object]] = [
        lambda: parse(Request(head, content)),
        lambda: block_hashes(conversation_of(request), pool.seed),
        lambda: prefixes.find(hashes),
        lambda: prefixes.add(hashes, "i0"),
        lambda: POLICIES["prefix"](pool, request, context),
        lambda: POLICIES["session"](pool, keyed, context),
        lambda: POLICIES["round_robin"](pool, request, context),
    ]
    return [microseconds(work, rounds) for work in columns]


def instance(number: int) -> Target:
    return Target(name=f"i{number}", host="h", port=1, url="http://h:1", models=(MODEL,))


def full_map() -> tuple[int, int]:
    """Return the bytes and the entries of the map while it is fullest."""
    tracemalloc.start()
    prefixes, most = PrefixMap(MAP_BYTES), (0, 0)
    for number in itertools.count():
        prefixes.add([hash((number, n)) & (1 << 64) - 1 for n in range(32)], f"i{number % 50}")
        entries = len(prefixes)
        if entries < most[1]:  # the old generation has been dropped
            break
        most = (tracemalloc.get_traced_memory()[0], entries)
    tracemalloc.stop()
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    head = ["CPU µs", "parse", "blocks", "find", "record", "prefix", "session", "round_robin"]
    rows = [
        [name, *(f"{cost:.2f}" for cost in measure(content, options.instances, options.rounds))]
        for name, content in CASES.items()
    ]
    print(*aligned([head, *rows]), sep="\n")
    used, entries = full_map()
    print(f"\nA full map of {MAP_BYTES >> 20} MB has {entries:,} blocks in {used / (1 << 20):.1f} MB.")


if __name__ == "__main__":
    main()
