import pytest

from svc.base.errors import Forbidden, NotFound
from svc.registry.leases import owner
from tests.unit.registry.services import service

MINE, OTHERS = owner.digest("mine-mine-mine-mine"), owner.digest("others-others-others")


def test_only_a_digest_is_kept_and_none_of_no_secret():
    assert len(MINE) == 64
    assert "mine" not in MINE
    assert owner.digest("") == owner.ANONYMOUS


@pytest.mark.parametrize("caller", [OTHERS, owner.ANONYMOUS, owner.digest("mine-mine-mine-min")])
def test_while_the_lease_holds_a_name_is_its_registrants_alone(caller):
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


def test_the_operator_may_do_all():
    owner.check(service(owner=MINE), owner.OPERATOR)
    owner.check_heartbeat(service(owner=MINE), owner.OPERATOR)


@pytest.mark.parametrize("caller", [MINE, owner.ANONYMOUS, owner.OPERATOR])
def test_what_was_registered_without_a_secret_and_what_is_not_there_is_anybodys(caller):
    owner.check(service(), caller)
    owner.check_heartbeat(service(), caller)
    owner.check(None, caller)


def test_what_has_expired_may_be_registered_anew_by_another_but_not_revived():
    expired = service(owner=MINE, expired=True)
    owner.check(expired, OTHERS)
    owner.check_heartbeat(expired, MINE)
    with pytest.raises(NotFound) as failure:
        owner.check_heartbeat(expired, OTHERS)
    assert failure.value.code == "unknown_service"
