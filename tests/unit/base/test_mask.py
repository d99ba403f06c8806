"""Secrets in commands, variables and files, recognised by name or format."""

import pytest

from svc.base.mask import both_without_secrets, is_secret, without_secrets


def test_names_of_secrets_are_recognised():
    secret = ["HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "api-key", "APIKEY", "X_AUTH"]
    plain = [
        "CUDA_VISIBLE_DEVICES",
        "TOKENIZERS_PARALLELISM",
        "max-tokens",
        "token-file",
        "token-delay",
        "KEYS_FILE",
        "models",
        "",
    ]
    assert [name for name in secret if not is_secret(name)] == []
    assert [name for name in plain if is_secret(name)] == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("run --api-key hunter2 --port 1", "run --api-key *** --port 1"),
        ("run --api-key 'hunter2'\"'\"'hunter2' x", "run --api-key *** x"),
        ("run --token --port 1", "run --token --port 1"),
        ('environment=A="1",SVC_MAX_RESTARTS="5",B=\'x,y\'', 'environment=A=***,SVC_MAX_RESTARTS="5",B=***'),
        ('x\nenvironment=SVC_ENV_DB="hunter2 %%22"\ny=1', "x\nenvironment=SVC_ENV_DB=***\ny=1"),
        ('DB_PASS="hunter2"', "DB_PASS=***"),
        ("--hf-pat hunter2 --my-dsn=hunter2", "--hf-pat *** --my-dsn=***"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic ***"),
        ("--style basic --port 1", "--style basic --port 1"),
        ("postgres://u:hunter2/@pw@h/db", "postgres://u:***@h/db"),
        ("https://ghp_hunter2@github.com/x", "https://***@github.com/x"),
        ('TLS_KEY="-----BEGIN\n  hunter2\n",B="2"', 'TLS_KEY=***,B="2"'),
        ("http://user:hunter2@h:1/?a=b", "http://user:***@h:1/?a=b"),
        ("--max-tokens 5 --token-file /etc/t", "--max-tokens 5 --token-file /etc/t"),
    ],
)
def test_secrets_in_a_text_are_masked(text, masked):
    assert without_secrets(text) == masked


def test_two_masked_versions_differ_where_a_secret_differs():
    text = 'A="1"\nHF_TOKEN="{}"\n'
    old, new = both_without_secrets(text.format("old"), text.format("new"))
    assert (old, new) == ('A="1"\nHF_TOKEN=***\n', 'A="1"\nHF_TOKEN=*** (another value)\n')
    assert len(set(both_without_secrets(text.format("x"), text.format("x")))) == 1
