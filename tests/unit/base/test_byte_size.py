import pytest

from svc.base.byte_size import gigabytes, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [("38GB", 38 * 10**9), ("38 GiB", 38 * 2**30), ("1.5MB", 1_500_000), ("38", None), ("GB", None), ("1 gb", None)],
)
def test_a_size_has_a_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (38 * 10**9, "38 GB"),
        (38 * 2**30, "40.8 GB"),
        (512 * 10**6, "512 MB"),
        (1_500 * 10**9, "1.5 TB"),
        (2_000 * 10**12, "2000 TB"),
        (7, "7 bytes"),
    ],
)
def test_a_size_is_shown_in_the_largest_unit_that_fits(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(("size", "text"), [(38_400_000_000, "38"), (9_500_000_000, "9.5"), (10**9, "1"), (0, "0")])
def test_a_narrow_column_shows_a_size_in_gigabytes(size, text):
    assert gigabytes(size) == text
