"""The table of values: each detector with its source and examples. docs/masking.md is made of it."""

from __future__ import annotations

from mask.kinds import Detector
from mask.values import card, contact, national, personal, secrets

VALUES: tuple[Detector, ...] = (
    card.DETECTOR,
    *personal.DETECTORS,
    *contact.DETECTORS,
    *national.DETECTORS,
    *secrets.DETECTORS,
)
OPTIONAL: tuple[Detector, ...] = (contact.IP_ADDRESS,)
"""Off unless the policy asks for them."""
