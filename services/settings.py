"""Settings of the desk as a whole, from the environment with the prefix DESK_."""

import os
import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import StartupError


class DeskSettings(BaseSettings):
    """What an operator may choose for every service; the embedded desk needs none of it."""

    model_config = SettingsConfigDict(env_prefix="DESK_")

    kafka: str | None = Field(default=None, description="bootstrap servers, HOST:PORT[,…]")
    log_url: SecretStr | None = Field(
        default=None,
        description="database of the embedded log, where services share one machine and no broker",
    )
    topic_prefix: str = Field(default="", description="put before the names of topics")
    partitions: int = Field(default=6, ge=1, le=1_000, description="of topics the desk creates")
    replication_factor: int = Field(default=1, ge=1, description="of topics the desk creates")
    role: Literal["api", "worker", "all"] = "all"
    replica: str = Field(
        default_factory=socket.gethostname, description="names this replica in leases"
    )
    signing_key: Path | None = Field(default=None, description="key file of the local issuer")
    oidc_issuer: str | None = None
    oidc_jwks_url: str | None = None
    oidc_audience: str = "deskledger"
    webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="signs what is posted to webhooks"
    )
    log_level: str = "INFO"


def database_url(service: str) -> str:
    """Return <SERVICE>_DATABASE_URL. Raises: StartupError naming the variable if it is not set."""
    name = f"{service.upper()}_DATABASE_URL"
    if not os.environ.get(name):
        raise StartupError(f"{name} is not set")
    return os.environ[name]
