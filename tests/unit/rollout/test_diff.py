"""Differences between running groups and those of the files, and the smallest update for each."""

from svc.rollout.diff import ChangeKind, Edit, Update, difference
from tests.unit.rollout.groups import group, instance, program


def changes(running, wanted, stale_configs=()):
    return difference({g.name: g for g in running}, {g.name: g for g in wanted}, stale_configs)


def only_change(running, wanted, stale_configs=()):
    [change] = changes([running] if running else [], [wanted] if wanted else [], stale_configs)
    return change


def test_equal_groups_are_no_change():
    assert changes([instance("a"), instance("b")], [instance("b"), instance("a")]) == []


def test_an_instance_that_is_added_or_removed():
    added = only_change(None, instance("a"))
    assert (added.name, added.kind, added.update, added.component_kind) == (
        "a",
        ChangeKind.ADDED,
        Update.ADD,
        "babysitter",
    )
    assert [(p.name, p.kind) for p in added.programs] == [
        ("a:server", ChangeKind.ADDED),
        ("a:babysitter", ChangeKind.ADDED),
    ]
    assert not added.interrupts
    removed = only_change(instance("a"), None)
    assert (removed.kind, removed.update, removed.interrupts) == (ChangeKind.REMOVED, Update.REMOVE, True)


def test_a_changed_server_replaces_both():
    change = only_change(instance("a", "run x", environment={"K": "1"}), instance("a", "run y", environment={"J": "2"}))
    assert (change.kind, change.update, change.interrupts) == (ChangeKind.CHANGED, Update.REPLACE, True)
    [server] = change.programs
    assert (server.name, server.kind) == ("a:server", ChangeKind.CHANGED)
    assert server.edits == (
        Edit("command", "run x", "run y"),
        Edit("environment.K", "1", None),
        Edit("environment.J", None, "2"),
    )


def test_a_change_of_the_babysitter_alone_leaves_the_server_running():
    change = only_change(instance("a"), instance("a", babysitter="watch more"), ["a"])
    assert (change.update, change.interrupts) == (Update.REPLACE_BABYSITTER, False)


def test_a_toml_that_the_babysitter_has_not_read_restarts_it_alone():
    change = only_change(instance("a"), instance("a"), ["a"])
    assert (change.kind, change.update, change.programs) == (ChangeKind.CHANGED, Update.RESTART_BABYSITTER, ())


def test_a_change_of_the_group_itself_replaces_the_whole_group():
    change = only_change(
        group("router", program("router"), socket="tcp://a:1"), group("router", program("router"), socket="b")
    )
    assert (change.component_kind, change.update, change.interrupts) == ("router", Update.REPLACE, False)
    assert change.edits == (Edit("socket", "tcp://a:1", "b"),)


def test_the_router_s_program_is_replaced_in_its_group():
    change = only_change(group("router", program("router")), group("router", program("router", "run x")))
    assert (change.component_kind, change.update, change.interrupts) == ("router", Update.REPLACE_PROGRAM, False)


def test_an_added_program_replaces_its_whole_group():
    more = group("a", *instance("a").programs.values(), program("a:extra"))
    assert only_change(instance("a"), more).update is Update.REPLACE


def test_a_foreign_program_is_replaced():
    change = only_change(group("cron", program("cron")), group("cron", program("cron", autostart="false")))
    assert (change.component_kind, change.update) == ("", Update.REPLACE)


def test_a_log_that_supervisord_names_itself_is_equal_to_any():
    auto = group("cron", program("cron", stdout_logfile="AUTO"))
    named = group("cron", program("cron", stdout_logfile="/tmp/cron-stdout---supervisor-x.log"))
    assert changes([named], [auto]) == []
    assert changes([named], [group("cron", program("cron"))]) != []


ON_DEMAND = {"SVC_ON_DEMAND": "1"}


def sleeping(server="run", babysitter="watch", **environment):
    return instance("a", server, babysitter, {**ON_DEMAND, **environment})


def update(before, after, asleep=("a",)):
    (change,) = difference({"a": before}, {"a": after}, asleep=asleep)
    return change.update


def test_the_server_of_an_instance_that_is_asleep_is_replaced_without_a_start():
    assert update(sleeping(), sleeping("run new")) is Update.REPLACE_ASLEEP
    assert update(sleeping(SVC_KEEP="1"), sleeping()) is Update.REPLACE_ASLEEP
    assert update(sleeping(), sleeping("run new"), asleep=()) is Update.REPLACE, "it is awake"
    change = difference({"a": sleeping()}, {"a": sleeping("run new")}, asleep={"a"})[0]
    assert not change.interrupts


def test_other_changes_of_an_instance_that_is_asleep_are_made_as_usual():
    assert update(sleeping(), sleeping(babysitter="watch new")) is Update.REPLACE_BABYSITTER
    assert update(sleeping(), sleeping("run new", "watch new")) is Update.REPLACE, "it may have another port"
    assert update(sleeping(), instance("a", "run new")) is Update.REPLACE, "it is always on from now on"
    assert update(instance("a"), sleeping("run new")) is Update.REPLACE
