"""Where Deriv is and what logs in there: what every service that speaks to it is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from derivfleet.common.settings import ServiceSettings

__all__ = ["DerivSettings"]


class DerivSettings(ServiceSettings):
    """Where Deriv is, and what logs in there: the account's credential has no prefix."""

    deriv_url: str = "https://api.derivws.com"
    legacy_url: str = "wss://ws.derivws.com"
    deriv_token: Annotated[SecretStr, Field(validation_alias="DERIV_TOKEN")]
    app_id: Annotated[str, Field(validation_alias="DERIV_APP_ID")]

    @field_validator("deriv_token")
    @classmethod
    def _has_token(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            raise ValueError("is empty: set it to the account's API token")
        return value

    @field_validator("app_id")
    @classmethod
    def _has_app(cls, value: str) -> str:
        if not value:
            raise ValueError("is empty: set it to the id of the app that you registered with Deriv")
        return value

    @property
    def token(self) -> str:
        return self.deriv_token.get_secret_value()
