import pytest

from svc.router.serve import worker_count


@pytest.mark.parametrize(
    ("setting", "cores", "count"), [(0, 1, 1), (0, 3, 1), (0, 4, 1), (0, 8, 2), (0, 128, 8), (1, 64, 1), (12, 2, 12)]
)
def test_a_quarter_of_the_cores_relays_unless_a_number_is_set(setting, cores, count):
    assert worker_count(setting, cores) == count
