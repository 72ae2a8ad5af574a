"""What lists of agreements show."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from services.sla.domain.agreements.versions import (
    AgreementVersion,
    AgreementVersions,
    Signature,
    in_force_at,
)
from shared.contracts.agreements import AgreementPublished, Party


class SignatureView(msgspec.Struct, frozen=True):
    """Who signed, and when."""

    signatory: str
    signed_at: datetime


class VersionView(msgspec.Struct, frozen=True):
    """A version of an agreement; `in_force` says whether it is now."""

    in_force: bool
    signatures: dict[Party, SignatureView]
    document: AgreementPublished


class AgreementView(msgspec.Struct, frozen=True):
    """An agreement with its versions, the newest first."""

    agreement_id: str
    versions: list[VersionView]


def agreement_view(agreement_id: str, versions: AgreementVersions, now_us: int) -> AgreementView:
    """Return an agreement as it is shown."""
    current = in_force_at(versions, now_us)
    return AgreementView(
        agreement_id,
        [
            VersionView(
                current is version.document,
                {party: SignatureView(*one) for party, one in version.signatures.items()},
                version.document,
            )
            for _, version in sorted(versions.items(), reverse=True)
        ],
    )


def versions_of(rows: Iterable[Any]) -> dict[str, dict[int, AgreementVersion]]:
    """Return versions by agreement and number, from rows of id, number, document, signatures.

    Signatures are who signed, and when, for the customer and for the provider, or null.
    """
    found: dict[str, dict[int, AgreementVersion]] = {}
    for agreement_id, number, document, *signed in rows:
        signatures: dict[Party, Signature] = {}
        if signed[0] is not None:
            signatures["customer"] = Signature(*signed[:2])
        if signed[2] is not None:
            signatures["provider"] = Signature(*signed[2:])
        version = AgreementVersion(msgspec.convert(document, AgreementPublished), signatures)
        found.setdefault(agreement_id, {})[number] = version
    return found
