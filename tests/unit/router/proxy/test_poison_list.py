from svc.router.proxy.poison_list import MAX_POISONED_BODIES, PoisonList


def test_a_body_is_refused_for_so_many_seconds():
    poison = PoisonList(600)
    assert not poison.contains(b"bad", 0)
    poison.add(b"bad", 0)
    poison.add(b"bad", 100)  # as it was first
    poison.add(b"worse", 300)
    assert poison.contains(b"bad", 599.9)
    assert not poison.contains(b"bod", 1)
    assert not poison.contains(b"bad", 600)
    assert poison.contains(b"worse", 600)
    assert not poison.contains(b"worse", 900)


def test_nothing_is_remembered_of_an_empty_body_nor_for_no_time():
    poison, off = PoisonList(600), PoisonList(0)
    poison.add(b"", 0)
    off.add(b"bad", 0)
    assert not poison.contains(b"", 0)
    assert not off.contains(b"bad", 0)


def test_the_oldest_are_forgotten_first():
    poison = PoisonList(600)
    for n in range(MAX_POISONED_BODIES + 1):
        poison.add(b"%d" % n, n / 1000)
    assert not poison.contains(b"0", 2)
    assert poison.contains(b"1", 2)
    assert poison.contains(b"%d" % MAX_POISONED_BODIES, 2)
