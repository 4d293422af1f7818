"""What `deviceInfo` says, in the words of the facts registry."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from agents.messages import Facts
from agents.plausible import between, label, same_page, share

Told = Annotated[float | None, BeforeValidator(lambda value: None if value == "" else value)]


class DeviceInfo(BaseModel):
    """The keys that we read. All but the device's id may be missing: Android hides ever more."""

    model_config = ConfigDict(alias_generator=to_camel, coerce_numbers_to_str=True)

    device_id: str = Field(alias="deviceID", min_length=1)
    serial: str = ""
    device_name: str = ""
    device_model: str = ""
    device_manufacturer: str = ""
    android_version: str = ""
    app_version_name: str = ""
    battery_level: Told = None
    battery_temperature: Told = None
    is_plugged: bool | None = None
    plugged: bool | None = None
    screen_on: bool | None = None
    kiosk_locked: bool | None = None
    current_page: str = ""
    start_url: str = ""
    wifi_signal_level: Told = None
    internal_storage_free_space: Told = None
    internal_storage_total_space: Told = None
    ram_used_memory: Told = None
    ram_total_memory: Told = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, told: object) -> object:
        if not isinstance(told, dict):
            return told
        return {key: value for key, value in told.items() if value is not None}

    @classmethod
    def of(cls, body: bytes) -> "DeviceInfo":
        """Raises ValueError, naming the keys that do not fit but never a value."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            wrong = sorted({str(fault["loc"][:1])[:40] for fault in error.errors()})
            raise ValueError(", ".join(wrong)) from None

    def belongs_to(self, serial: str) -> bool:
        """Whether the expected serial number is this tablet's; Android may show only the id."""
        return serial.strip().casefold() in {self.serial.casefold(), self.device_id.casefold()}

    def facts(self) -> Facts:
        """What is told and plausible; the rest is left out."""
        told = {
            **self._identity(),
            "battery_ratio": share(self.battery_level, 100),
            "plugged": self.plugged if self.is_plugged is None else self.is_plugged,
            "screen_on": self.screen_on,
            "kiosk_locked": self.kiosk_locked,
            "on_start_page": self._on_start_page(),
            "memory_ratio": share(self.ram_used_memory, self.ram_total_memory),
            "wifi_dbm": between(self.wifi_signal_level, -100, -10),
            "temperature_c": between(self.battery_temperature, -40, 100),
            **self._disk(),
        }
        return {fact: value for fact, value in told.items() if value is not None}

    def _identity(self) -> Facts:
        hidden = self.serial.strip().lower() in ("", "unknown", "null")
        firmware = [
            f"{name} {version}"
            for name, version in (
                ("Android", self.android_version),
                ("Fully Kiosk", self.app_version_name),
            )
            if version
        ]
        return {
            "serial": label(self.device_id if hidden else self.serial),
            "name": label(self.device_name),
            "model": label(self.device_model),
            "vendor": label(self.device_manufacturer),
            "firmware": label(", ".join(firmware)),
        }

    def _disk(self) -> Facts:
        free, total = self.internal_storage_free_space, self.internal_storage_total_space
        left = share(free, total)
        if free is None or left is None:
            return {}
        return {"disk_free_bytes": int(free), "disk_ratio": round(1 - left, 4)}

    def _on_start_page(self) -> bool | None:
        if not self.current_page or not self.start_url:
            return None
        return same_page(self.current_page, self.start_url)
