"""Events that reporting owns."""

from typing import Annotated, ClassVar

from msgspec import Meta

from shared.contracts.base import Amount, Count, EventData, Key


class AuditCheckpointed(EventData, frozen=True, kw_only=True):
    """The Merkle root over the first `size` archived records of one partition (RFC 6962, hex)."""

    TYPE: ClassVar[str] = "audit.checkpointed"
    STREAM: ClassVar[str] = "log_id"

    log_id: Key
    topic: Key
    partition: Count
    size: Annotated[Amount, Meta(ge=1)]
    root: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
