"""Checksums, sizes and receipt handles of the local SQS."""

import pytest

from controller.local.sqs.errors import SqsError
from controller.local.sqs.handles import Receipt, issue, read
from controller.local.sqs.message import AttributeValue, Draft, attributes_md5, message_id, text_md5

JEDI = {
    "Hello": AttributeValue("String", "There"),
    "General": AttributeValue("String", "Kenobi"),
    "Help.Me": AttributeValue("String", "Me"),
}
TRACE = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"


# The digests are those that AWS returned.
@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param(JEDI, "4c360f3fdafd970e05fae2f149d997f5", id="strings"),
        pytest.param(
            {"attr1": AttributeValue("Binary", binary_value=TRACE)},
            "8cbe4db156db8a94db8b801b7addb984",
            id="binary",
        ),
    ],
)
def test_attributes_md5(attributes: dict[str, AttributeValue], expected: str) -> None:
    assert attributes_md5(attributes) == expected


def test_text_md5() -> None:
    assert text_md5("msg") == "6e2baaf3b97dbeef01c0043275f9a0e7"


@pytest.mark.parametrize(
    ("draft", "size"),
    [
        pytest.param(Draft(message_body="abc"), 3, id="ascii"),
        pytest.param(Draft(message_body="é€"), 5, id="bytes, not characters"),
        pytest.param(Draft(message_body="", message_attributes={"n": JEDI["Hello"]}), 12, id="name, type and value"),
    ],
)
def test_size(draft: Draft, size: int) -> None:
    assert draft.size == size


def test_message_ids_are_derived_and_look_like_uuids() -> None:
    assert message_id("q", 1) == message_id("q", 1) != message_id("q", 2)
    assert [len(part) for part in message_id("q", 1).split("-")] == [8, 4, 4, 4, 12]


def test_handle_is_read_by_its_own_queue() -> None:
    assert read("q", issue("q", Receipt(7, 2))) == Receipt(7, 2)


@pytest.mark.parametrize(
    "handle",
    [
        pytest.param(issue("other", Receipt(7, 2)), id="of another queue"),
        pytest.param("invented", id="invented"),
        pytest.param("", id="empty"),
        pytest.param("é", id="not ascii"),
        pytest.param("____", id="not text"),
    ],
)
def test_handle_is_refused(handle: str) -> None:
    with pytest.raises(SqsError) as error:
        read("q", handle)

    assert error.value.code == "ReceiptHandleIsInvalid"
