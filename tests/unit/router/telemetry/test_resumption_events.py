from svc.router.telemetry.event_reporter import EventReporter
from svc.router.telemetry.resumption_events import COLLECT_SECONDS, ResumptionEvents
from tests.unit.router.examples import Clock


def reported(events: ResumptionEvents, clock: Clock) -> list[tuple[str, str, str]]:
    reporter = EventReporter(8000)
    events.flush(reporter)
    assert not reporter.next_batch(), "others may follow"
    clock.now += COLLECT_SECONDS
    events.flush(reporter)
    events.flush(reporter)
    return [(event["kind"], event["service"], event["message"]) for event in reporter.next_batch()]


def test_however_many_answers_there_is_one_event_for_each_instance():
    clock = Clock()
    events = ResumptionEvents(clock)
    for n in range(200):
        events.resumed("a", "b" if n % 4 else "c")
    events.resumed("d", "")
    assert reported(events, clock) == [
        ("resumed", "a", "200 answers that it had begun went on at b, c"),
        ("resumed", "d", "an answer that it had begun went on: only its end was missing"),
    ]


def test_what_could_not_be_continued_is_reported_with_the_reasons():
    clock = Clock()
    events = ResumptionEvents(clock)
    for reason in ("tool_call", "engine", "engine"):
        events.failed("a", reason)
    assert reported(events, clock) == [
        (
            "resume-failed",
            "a",
            "3 answers that it had begun could not be continued: no other instance of the model is known to continue "
            "answers (2); the answer had begun to call a tool (1)",
        )
    ]
