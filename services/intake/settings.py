"""Intake's own settings, from the environment with the prefix INTAKE_."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class IntakeSettings(BaseSettings):
    """What an operator may choose."""

    model_config = SettingsConfigDict(env_prefix="INTAKE_")

    categories: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset({"service", "access", "other"}),
        description="free categories beside hardware, software, network and system",
    )
    skew_seconds_max: int = Field(
        default=300, ge=0, description="how far a caller's clock may be ahead of ours"
    )
    notify_url: str | None = Field(
        default=None, description="where escalations and solutions are posted as CloudEvents"
    )

    @field_validator("categories", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value
