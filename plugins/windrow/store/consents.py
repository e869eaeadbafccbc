"""Consents in MongoDB, see `windrow.http.consent`. Tokens are encrypted before they get here.

A document is the tokens of one refresh (``consent|number``), or a claim to make it (``consent|number|attempt``).
"""

from dataclasses import asdict
from datetime import UTC, datetime

from windrow.http.consent import Claim, ConsentState
from windrow.store.documents import Document, Documents

CONSENTS = "windrow_consents"


class ConsentDocuments(Documents):
    """Reads and writes the documents; implements `windrow.http.consent.ConsentStore`."""

    def consent(self, consent: str) -> ConsentState:
        """Read what is stored of a consent."""
        found = self._find(CONSENTS, {"consent": consent})
        sealed: dict[int, str] = {one["number"]: one["sealed"] for one in found if "sealed" in one}
        number = max(sealed, default=0)
        claims = [_claim(one) for one in found if "attempt" in one and one["number"] == number + 1]
        claim = max(claims, key=lambda claim: claim.attempt, default=None)
        return ConsentState(number, sealed.get(number, ""), claim)

    def claim_refresh(self, consent: str, claim: Claim) -> bool:
        """Store a claim, unless one of this number and attempt exists; return whether it is the caller's."""
        return self._insert(
            CONSENTS, {"_id": _id(consent, claim), "consent": consent, "holder": claim.by} | _row(claim)
        )

    def release_refresh(self, consent: str, claim: Claim) -> None:
        """Delete a claim."""
        self._delete(CONSENTS, _id(consent, claim))

    def save_refresh(self, consent: str, number: int, sealed: str, *, by: str) -> bool:
        """Store the tokens of a refresh, unless it has some; then delete everything about earlier refreshes."""
        document = {"_id": f"{consent}|{number}", "consent": consent, "number": number, "sealed": sealed}
        ours = self._insert(CONSENTS, document | {"holder": by, "saved_at": datetime.now(UTC)})
        for old in self._find(CONSENTS, {"consent": consent}):
            if old["number"] < number or ("attempt" in old and old["number"] == number):
                self._delete(CONSENTS, old["_id"])
        return ours


def _id(consent: str, claim: Claim) -> str:
    return f"{consent}|{claim.number}|{claim.attempt}"


def _row(claim: Claim) -> Document:
    return {name: value for name, value in asdict(claim).items() if name != "by"}


def _claim(document: Document) -> Claim:
    started_at, until = (document[name].replace(tzinfo=UTC) for name in ("started_at", "until"))  # MongoDB: no zone
    return Claim(document["number"], document["attempt"], document["holder"], started_at, until)
