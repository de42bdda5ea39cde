"""What people read holds no secret: known values, and what looks like one."""

from __future__ import annotations

import pytest

from crds.redaction import MASK, Redaction, scrub


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        pytest.param("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {MASK}", id="bearer"),
        pytest.param("'authorization': 'Basic dXNlcjpwYXNz'", f"'authorization': 'Basic {MASK}'", id="basic"),
        pytest.param("a basic understanding", "a basic understanding", id="not that basic"),
        pytest.param("\\nBearer abcdef\\npassword=x1", f"\\nBearer {MASK}{MASK[:0]}\\npassword={MASK}", id="in a repr"),
        pytest.param("host=db password=hunter2 user=u", f"host=db password={MASK} user=u", id="conninfo"),
        pytest.param("PGPASSWORD is unset", "PGPASSWORD is unset", id="only a name"),
        pytest.param('{"password": "hunter2", "a": 1}', f'{{"password": {MASK}, "a": 1}}', id="JSON"),
        pytest.param("{'api_key': 'x y'}", f"{{'api_key': {MASK}}}", id="repr"),
        pytest.param("aws_secret_access_key = abc/def+ghi", f"aws_secret_access_key = {MASK}", id="AWS secret key"),
        pytest.param("key AKIAIOSFODNN7EXAMPLE used", f"key {MASK} used", id="AWS key id"),
        pytest.param("https://u:p%40ss@host/x", f"https://{MASK}@host/x", id="userinfo"),
        pytest.param("postgresql://u:p@db:5432/x", f"postgresql://{MASK}@db:5432/x", id="DSN as URL"),
        pytest.param("https://host/a@b", "https://host/a@b", id="an at sign in a path"),
        pytest.param("?X-Amz-Signature=0a1b2c&x=1", f"?X-Amz-Signature={MASK}&x=1", id="presigned URL"),
        pytest.param("the token is unknown; read it again", "the token is unknown; read it again", id="prose"),
    ],
)
def test_what_looks_like_a_secret(text: str, clean: str) -> None:
    assert scrub(text) == clean


def test_values_of_every_shape() -> None:
    redaction = Redaction()
    redaction.add('{"user": "ada", "password": "s3cr3t-one"}')
    redaction.add("p@ss/word-two")
    assert redaction.clean("s3cr3t-one p@ss/word-two p%40ss%2Fword-two") == f"{MASK} {MASK} {MASK}"


@pytest.mark.parametrize(
    "dsn",
    [
        pytest.param("host=db user=u password=tops3cret-value", id="plain"),
        pytest.param("host=db password='tops3cret-value' user=u", id="quoted"),
        pytest.param("postgresql://u:tops3cret-value@db/x", id="URL"),
    ],
)
def test_the_password_of_a_dsn(dsn: str) -> None:
    redaction = Redaction()
    redaction.add_dsn(dsn)
    assert redaction.clean("failed with tops3cret-value!") == f"failed with {MASK}!"
    assert redaction.clean("host=db") == "host=db"


def test_values_nested_in_fields() -> None:
    redaction = Redaction()
    redaction.add("s3cr3t-one")
    value = {"a": ["x s3cr3t-one", {"token": "short"}], "n": 1, "s3cr3t-one": None}
    assert redaction.clean_value(value) == {"a": [f"x {MASK}", {"token": MASK}], "n": 1, MASK: None}


def test_a_short_value_hides_nothing_of_a_process() -> None:
    redaction = Redaction(least=12)
    redaction.add("local")
    assert redaction.clean("a local system") == "a local system"
