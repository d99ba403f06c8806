import pytest

from svc.router.resume.dialect import Dialect, dialect_of


@pytest.mark.parametrize(
    ("uri", "dialect"),
    [
        (b"/v1/chat/completions", Dialect.CHAT),
        (b"/chat/completions?x=1", Dialect.CHAT),
        (b"/v1/completions", Dialect.COMPLETIONS),
        (b"/v1/messages?beta=true", Dialect.MESSAGES),
        (b"/v1/messages/count_tokens", None),
        (b"/v1/chat/completions/batch", None),
        (b"/v1/responses", None),
        (b"/completion", None),
        (b"/generate", None),
        (b"/api/chat", None),
        (b"/api/generate", None),
    ],
)
def test_only_three_forms_of_requests_can_be_continued(uri: bytes, dialect: Dialect | None):
    assert dialect_of(uri) is dialect
