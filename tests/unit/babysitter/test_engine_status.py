"""What the instance says is asked for seldom, and never for longer than the time there is."""

import threading

import pytest

from svc.babysitter.engine_status import NO_ANSWER, Answers, Readiness

A, B = {"id": "a"}, {"id": "b"}


class Instance:
    """Has the models that `says` holds for a URL; each check takes `takes` seconds of the clock."""

    def __init__(self, **says):
        self.says, self.takes, self.now, self.asked = says, 0.0, 0.0, []

    def check(self, url, timeout):
        self.asked.append((url, timeout))
        self.now += min(self.takes, timeout)
        models = self.says.get(url, [])
        return Readiness(models, "" if models else NO_ANSWER)

    def answers(self, *urls):
        return Answers(urls, self.check, clock=lambda: self.now, keep=2.0, timeout=5.0)


def test_many_who_want_to_know_cost_one_question():
    instance = Instance(here=[A])
    answers = instance.answers("here")
    assert [answers.models() for _ in range(50)] == [[A]] * 50
    assert len(instance.asked) == 1


def test_an_answer_is_kept_for_a_moment_only():
    instance = Instance(here=[A])
    answers = instance.answers("here")
    answers.models()
    instance.now, instance.says = 2.0, {}
    assert answers.models() == []


def test_a_silence_is_kept_for_a_moment_too():
    instance = Instance()
    answers = instance.answers("here")
    assert [answers.models() for _ in range(9)] == [[]] * 9
    assert len(instance.asked) == 1


def test_fresh_asks_now_and_others_share_its_answer():
    instance = Instance(here=[A])
    answers = instance.answers("here")
    answers.models()
    instance.says = {"here": [B]}
    assert answers.fresh() == answers.models() == [B]
    assert len(instance.asked) == 2


def test_the_next_address_is_asked_where_the_first_says_nothing():
    instance = Instance(there=[A])
    assert instance.answers("here", "there", "here").models() == [A]
    assert [url for url, _ in instance.asked] == ["here", "there"]


def test_an_instance_that_hangs_costs_the_timeout_once():
    instance = Instance()
    instance.takes = 60
    assert instance.answers("here", "there").models() == []
    assert instance.asked == [("here", 5.0)]


def test_a_forgotten_answer_is_asked_for_again():
    instance = Instance(here=[A])
    answers = instance.answers("here")
    answers.models()
    answers.forget()
    instance.says = {}
    assert answers.models() == []


def test_a_wrong_setting_is_told_until_another_process_runs():
    answers = Answers(["here"], lambda url, timeout: Readiness(reason="it wants a key", misconfigured=True))
    assert not answers.misconfigured
    answers.models()
    assert answers.misconfigured
    answers.forget()
    assert not answers.misconfigured


def test_what_is_forgotten_while_it_is_being_asked_is_not_kept():
    instance = Instance(here=[A])
    answers = instance.answers("here")
    checking = instance.check
    answers.check = lambda url, timeout: (answers.forget(), checking(url, timeout))[1]
    answers.models()
    answers.check = checking
    instance.says = {}
    assert answers.models() == []


def test_a_question_that_fails_does_not_leave_an_old_answer_behind():
    instance = Instance(here=[A])
    answers = instance.answers("here")
    answers.models()
    answers.check = lambda url, timeout: 1 / 0
    with pytest.raises(ZeroDivisionError):
        answers.fresh()
    answers.check = instance.check
    instance.says = {"here": [B]}
    assert answers.models() == [B]


def test_those_who_come_while_it_is_asked_wait_for_that_answer():
    asked, may_answer, count = threading.Event(), threading.Event(), []

    def check(url, timeout):
        count.append(url)
        asked.set()
        assert may_answer.wait(10)
        return Readiness([A])

    answers = Answers(["here"], check)
    got = []
    threads = [threading.Thread(target=lambda: got.append(answers.models())) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert asked.wait(10)
    may_answer.set()
    for thread in threads:
        thread.join(10)
    assert got == [[A]] * 5
    assert len(count) == 1


def test_the_reason_of_a_server_that_answers_wins_over_one_that_is_not_there():
    found = {"here": Readiness(reason=NO_ANSWER), "there": Readiness(reason="it warms up"), "other": Readiness()}
    answers = Answers(["here", "there", "other"], lambda url, timeout: found[url])
    assert answers.reason == NO_ANSWER
    assert answers.models() == []
    assert answers.reason == "it warms up"
    found["here"] = Readiness([A])
    assert answers.fresh() == [A]
    assert answers.reason == ""
