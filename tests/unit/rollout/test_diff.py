"""What differs between what runs and what would run, and the least that brings it in line."""

from svc.rollout.diff import Edit, Kind, Way, difference
from tests.unit.rollout.groups import group, instance, program


def changes(running, wanted, rereads=()):
    return difference({g.name: g for g in running}, {g.name: g for g in wanted}, rereads)


def one(running, wanted, rereads=()):
    [change] = changes([running] if running else [], [wanted] if wanted else [], rereads)
    return change


def test_the_same_is_no_change():
    assert changes([instance("a"), instance("b")], [instance("b"), instance("a")]) == []


def test_an_instance_that_is_added_or_removed():
    added = one(None, instance("a"))
    assert (added.name, added.kind, added.way, added.component) == ("a", Kind.ADDED, Way.ADD, "babysitter")
    assert [(p.name, p.kind) for p in added.programs] == [("a:server", Kind.ADDED), ("a:babysitter", Kind.ADDED)]
    assert not added.interrupts
    removed = one(instance("a"), None)
    assert (removed.kind, removed.way, removed.interrupts) == (Kind.REMOVED, Way.REMOVE, True)


def test_a_changed_server_replaces_both():
    change = one(instance("a", "run x", environment={"K": "1"}), instance("a", "run y", environment={"J": "2"}))
    assert (change.kind, change.way, change.interrupts) == (Kind.CHANGED, Way.REPLACE, True)
    [server] = change.programs
    assert (server.name, server.kind) == ("a:server", Kind.CHANGED)
    assert server.edits == (
        Edit("command", "run x", "run y"),
        Edit("environment.K", "1", None),
        Edit("environment.J", None, "2"),
    )


def test_a_change_of_the_babysitter_alone_leaves_the_server_running():
    change = one(instance("a"), instance("a", babysitter="watch more"), ["a"])
    assert (change.way, change.interrupts) == (Way.REPLACE_BABYSITTER, False)


def test_a_toml_that_the_babysitter_has_not_read_restarts_it_alone():
    change = one(instance("a"), instance("a"), ["a"])
    assert (change.kind, change.way, change.programs) == (Kind.CHANGED, Way.RESTART_BABYSITTER, ())


def test_a_change_of_the_group_itself_replaces_all_of_it():
    change = one(group("router", program("router"), socket="tcp://a:1"), group("router", program("router"), socket="b"))
    assert (change.component, change.way, change.interrupts) == ("router", Way.REPLACE, False)
    assert change.edits == (Edit("socket", "tcp://a:1", "b"),)


def test_the_router_s_program_is_replaced_in_its_group():
    change = one(group("router", program("router")), group("router", program("router", "run x")))
    assert (change.component, change.way, change.interrupts) == ("router", Way.REPLACE_PROGRAM, False)


def test_a_program_that_came_into_a_group_replaces_all_of_it():
    more = group("a", *instance("a").programs.values(), program("a:extra"))
    assert one(instance("a"), more).way is Way.REPLACE


def test_a_program_that_is_not_ours():
    change = one(group("cron", program("cron")), group("cron", program("cron", autostart="false")))
    assert (change.component, change.way) == ("", Way.REPLACE)


def test_a_log_that_supervisord_names_itself_is_equal_to_any():
    auto = group("cron", program("cron", stdout_logfile="AUTO"))
    named = group("cron", program("cron", stdout_logfile="/tmp/cron-stdout---supervisor-x.log"))
    assert changes([named], [auto]) == []
    assert changes([named], [group("cron", program("cron"))]) != []
