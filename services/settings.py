"""Settings of the desk as a whole, from the environment with the prefix DESK_."""

import os
import socket
from dataclasses import fields
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import StartupError
from shared.http.limits import ServerLimits


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
    role: Literal["api", "worker", "all"] = Field(
        default="all", description="answer requests (api), do the work behind them (worker), or all"
    )
    replica: str = Field(
        default_factory=socket.gethostname, description="names this replica in leases"
    )
    signing_key: Path | None = Field(default=None, description="key file of the local issuer")
    revoked: Path | None = Field(
        default=None, description="list of revoked tokens; beside the key if it is not set"
    )
    oidc_issuer: str | None = Field(
        default=None, description="OpenID Connect issuer whose tokens are trusted"
    )
    oidc_jwks_url: str | None = Field(default=None, description="where its keys are")
    oidc_audience: str = Field(default="deskledger", description="what its tokens must be for")
    webhook_secret: SecretStr | None = Field(
        default=None, min_length=1, description="signs what is posted to webhooks"
    )
    log_level: str = Field(
        default="INFO",
        description="DEBUG has what libraries tell; `desk run` at a terminal only warns unless set",
    )
    http_header_bytes_max: int = Field(default=32_768, ge=1_024, description="of one request")
    http_header_seconds: float = Field(default=10, gt=0, description="to send a header in")
    http_body_seconds: float = Field(
        default=10,
        gt=0,
        description="to send a body in, and one more for each least rate that came",
    )
    http_body_bytes_per_second_min: int = Field(
        default=1_024, ge=1, description="the least rate of a body"
    )
    http_idle_seconds: int = Field(default=75, ge=1, description="between requests of a connection")
    http_write_seconds: float = Field(
        default=30, gt=0, description="that a client may read nothing of its answer"
    )
    http_connections_max: int = Field(default=2_048, ge=8, description="open at a time")
    http_connections_per_peer_max: int = Field(
        default=1_024, ge=1, description="of one address; behind an ingress all come from a few"
    )

    @property
    def server_limits(self) -> ServerLimits:
        """What a client may take of the HTTP server."""
        return ServerLimits(
            **{field.name: getattr(self, f"http_{field.name}") for field in fields(ServerLimits)}
        )


def database_url(service: str) -> str:
    """Return <SERVICE>_DATABASE_URL. Raises: StartupError naming the variable if it is not set."""
    name = f"{service.upper()}_DATABASE_URL"
    if not os.environ.get(name):
        raise StartupError(f"{name} is not set")
    return os.environ[name]
