"""Reporting's own settings, from the environment with the prefix REPORTING_."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ReportingSettings(BaseSettings):
    """What an operator may choose."""

    model_config = SettingsConfigDict(env_prefix="REPORTING_")

    zone: str = Field(default="UTC", description="IANA zone in which months begin")
    calendar: str = Field(default="office", description="calendar of working hours in the KPIs")
