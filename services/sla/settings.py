"""Sla's own settings, from the environment with the prefix SLA_."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SlaSettings(BaseSettings):
    """What an operator may choose; promises themselves are published, not configured."""

    model_config = SettingsConfigDict(env_prefix="SLA_")

    zone: str = Field(
        default="UTC", description="IANA zone of the office calendar that a new desk starts with"
    )
