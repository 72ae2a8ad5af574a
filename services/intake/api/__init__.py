"""Intake's routes: `tickets` has them all, `lists` answers questions for many."""

from services.intake.api.tickets import Intake

__all__ = ["Intake"]
