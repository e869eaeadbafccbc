"""What the manifest of Airbyte cannot declare: rows of an array for each field."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests
from airbyte_cdk.sources.declarative.extractors.record_extractor import RecordExtractor


@dataclass
class Days(RecordExtractor):
    """One row for each day."""

    def extract_records(self, response: requests.Response) -> Iterable[dict[str, Any]]:
        """Yield them."""
        answer = response.json()
        for day, high, low, rain in zip(*answer["daily"].values(), strict=True):
            yield {
                "day": day,
                "latitude": answer["latitude"],
                "temperature_max": high,
                "temperature_min": low,
                "rain_mm": rain,
            }
