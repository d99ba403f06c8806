"""The lines and the error of a management request, as an operator reads them."""

from svc.management.engine_request import EngineResponse, ManagementRequest
from svc.management.engines import InstanceResult
from svc.management.model_lists import RefreshedModels
from svc.management.results import failure, lines, to_json
from tests.unit.management.engines import engine

LOAD = ManagementRequest("POST", "/v1/load_lora_adapter", b"{}")


def result(name: str, status: int = 200, body: bytes = b"ok", **more) -> InstanceResult:
    return InstanceResult(engine(name), EngineResponse(status, body), **more)


def test_one_line_for_each_instance_has_the_first_of_its_answer():
    results = [
        result("a", body=b"\n  Success \x1b[31m\nmore"),
        result("long-name", 400, b'{"error": {"message": "already\\nloaded"}}'),
        InstanceResult(engine("c"), skipped="it is starting"),
        InstanceResult(engine("d"), EngineResponse(reason="connection refused")),
        result("e", 204, b""),
        result("f", body=b"x" * 500),
    ]
    assert list(lines(results, verbose=False)) == [
        "a          200  Success \N{REPLACEMENT CHARACTER}[31m",
        "long-name  400  already loaded",
        "c          skipped  it is starting",
        "d          failed  connection refused",
        "e          204",
        f"f          200  {'x' * 160}...",
    ]


def test_whole_answers_stand_below_their_instance():
    assert list(lines([result("a", body=b"one\n  two")], verbose=True)) == ["a  200  one", "  one", "    two"]


def test_lists_that_are_the_same_are_one_line():
    same = [result(name, models=RefreshedModels(["base", "sql"])) for name in ("a", "b")]
    assert list(lines(same, verbose=False))[2:] == ["models now: base, sql"]
    other = result("c", models=RefreshedModels(["base"], "the registry does not answer"))
    assert list(lines([*same, other], verbose=False))[3:] == [
        "models now at a, b: base, sql",
        "models now at c: base",
        "c: the registry does not answer",
    ]


def test_a_change_at_some_replicas_only_names_both_ways_out():
    text = failure(LOAD, [result("a"), result("b", 500), InstanceResult(engine("c"), skipped="it is starting")])
    assert text.startswith("2 of 3 instances did not answer 2xx: b, c; ")
    assert "`svc engine POST /v1/load_lora_adapter --instance b --instance c`" in text
    assert "or undo it at a" in text


def test_a_request_that_changes_nothing_has_nothing_to_finish():
    assert failure(ManagementRequest("GET", "/version"), [result("a", 500)]) == "1 of 1 instances did not answer 2xx: a"


def test_a_refusal_for_want_of_a_key_names_the_setting():
    assert "upstream_keys_file" in failure(LOAD, [result("a", 401)])


def test_programs_read_the_answers_as_json():
    document = to_json(
        [
            result("a", body=b'{"x": 1}', models=RefreshedModels(["m"])),
            InstanceResult(engine("b"), skipped="it is failed"),
        ]
    )
    assert document["ok"] is False
    first, second = document["instances"]
    assert (first["status"], first["body"], first["models"], first["note"]) == (200, {"x": 1}, ["m"], None)
    assert (second["status"], second["reason"], second["models"]) == (None, "it is failed", None)


def test_a_404_is_no_reason_to_repeat_the_request():
    unload = ManagementRequest("POST", "/v1/unload_lora_adapter", b"{}")
    assert failure(unload, [result("a"), result("b", 404)]) == (
        "1 of 2 instances did not answer 2xx: b; 404 at b: no such path there, or not what the request names"
    )
    assert "`svc engine POST /v1/unload_lora_adapter --instance c`" in failure(
        unload, [result("b", 404), result("c", 500)]
    )
