import pytest

from svc.base.errors import Forbidden, NotFound
from svc.registry.leases import owner
from tests.unit.registry.services import service

MINE, OTHERS = owner.digest("mine-mine-mine-mine"), owner.digest("others-others-others")


def test_only_the_digest_of_a_secret_is_stored():
    assert len(MINE) == 64
    assert "mine" not in MINE
    assert owner.digest("") == owner.ANONYMOUS


@pytest.mark.parametrize("caller", [OTHERS, owner.ANONYMOUS, owner.digest("mine-mine-mine-min")])
def test_while_the_lease_holds_only_the_owner_may_use_a_name(caller):
    mine = service(owner=MINE)
    owner.check(mine, MINE)
    for check in (owner.check, owner.check_heartbeat):
        with pytest.raises(Forbidden) as failure:
            check(mine, caller)
        assert (failure.value.status, failure.value.code) == (403, "not_owner")
        assert "gpu7" in failure.value.message
        assert "http://10.0.0.7:8100" in failure.value.message
        assert "token" in failure.value.message
        assert MINE not in failure.value.message


def test_the_operator_may_change_any_service():
    owner.check(service(owner=MINE), owner.OPERATOR)
    owner.check_heartbeat(service(owner=MINE), owner.OPERATOR)


@pytest.mark.parametrize("caller", [MINE, owner.ANONYMOUS, owner.OPERATOR])
def test_any_caller_may_use_an_unowned_or_an_unknown_name(caller):
    owner.check(service(), caller)
    owner.check_heartbeat(service(), caller)
    owner.check(None, caller)


def test_a_static_service_owns_its_name_while_heartbeats_arrive():
    static = service(owner=MINE, metadata={"static": True}, last_heartbeat=100.0, lease_seconds=30)
    with pytest.raises(Forbidden):
        owner.check(static, OTHERS, now=129)
    owner.check(static, OTHERS, now=130)
    with pytest.raises(Forbidden):
        owner.check(service(owner=MINE, last_heartbeat=100.0, lease_seconds=30), OTHERS, now=130)


def test_another_may_register_an_expired_name_but_not_revive_it():
    expired = service(owner=MINE, expired=True)
    owner.check(expired, OTHERS)
    owner.check_heartbeat(expired, MINE)
    with pytest.raises(NotFound) as failure:
        owner.check_heartbeat(expired, OTHERS)
    assert failure.value.code == "unknown_service"
