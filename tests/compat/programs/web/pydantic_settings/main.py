"""Settings from the environment and from a file beside the script."""

import os

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_", env_file="shop.env")
    name: str = "none"
    limit: int = 3
    token: SecretStr = SecretStr("")


os.environ["SHOP_LIMIT"] = "7"
settings = Settings()
print(settings, settings.token.get_secret_value())
